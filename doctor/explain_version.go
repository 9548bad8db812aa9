package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"go/version"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	modzip "golang.org/x/mod/zip"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// versionAt looks at one version of a module that the upstreams have.
func (x *explainer) versionAt(ctx context.Context, versions []string) {
	asked := x.version
	if asked == "" && len(versions) > 0 {
		x.version = latestOf(versions)
	}
	if old := asked + "+incompatible"; slices.Contains(versions, old) {
		x.step("resolve", OK, nil, "%s is %s", asked, old)
		x.version = old
	}
	if semver.IsValid(asked) && semver.Canonical(asked) != asked && semver.Build(asked) == "" {
		// v1 and v1.5 go looks up in the list itself.
		below := slices.DeleteFunc(slices.Clone(versions), func(v string) bool { return !strings.HasPrefix(v, asked+".") })
		if latest := latestOf(below); latest != "" {
			x.step("resolve", OK, nil, "%s is %s", asked, latest)
			x.version = latest
		}
	}
	if !x.resolveAt(ctx, asked, versions) {
		return
	}
	if !x.held {
		x.held = x.heldIn(x.ownTree()) || x.heldIn(x.goTree())
	}
	var mod, zip heard
	var both sync.WaitGroup
	both.Go(func() { mod = x.askFor(ctx, cache.Mod, http.MethodGet) })
	both.Go(func() { zip = x.askFor(ctx, cache.Zip, http.MethodHead) })
	both.Wait()
	detail := slices.Concat(mod.passed, zip.passed, []string{".mod: " + mod.String(), ".zip: " + zip.String()})
	for _, f := range []heard{mod, zip} {
		// A signed address refuses a HEAD that it would answer as a GET.
		switch v := f.verdict(); {
		case f.direct():
			x.toOrigin(ctx, f)
			return
		case v != Fine && !(len(f.hops) > 0 && f.status == http.StatusForbidden):
			x.beyond("upstream", v, detail, f.fix(x), "%s", f.about("a file of "+x.name()))
			return
		}
	}
	if zip.size > modzip.MaxZipFile {
		x.beyond("upstream", TooLarge, detail, "go get "+x.mod+"@none", "the zip of %s has %d MB, and go takes %d MB", x.name(), zip.size>>20, modzip.MaxZipFile>>20)
		return
	}
	x.goMod = string(mod.body)
	if !x.checkGoMod("upstream", detail) {
		return
	}
	x.step("upstream", OK, detail, "%s has %s", zip.entry, x.name())
	x.checkRetracted(ctx, mod.entry, versions)
}

// resolveAt asks the upstreams what a version or a branch is.
func (x *explainer) resolveAt(ctx context.Context, asked string, versions []string) bool {
	k, err := cache.NewKey(x.mod, x.version, cache.Info)
	if err != nil {
		fix := "gomirror resolve " + x.name()
		if !strings.Contains(x.version, "/") {
			fix = "go list -m -versions " + x.mod
		}
		x.step("resolve", Fail, nil, "go asks no module proxy for %q", x.version)
		x.blame(BadVersion, fix, "%q is nothing that go asks a module proxy for: a branch with a slash needs its version", x.version)
		return false
	}
	f := x.walk(func(e upstream.Entry) reply { return x.askMirror(ctx, e, k.String(), http.MethodGet) })
	switch v := f.verdict(); {
	case f.direct() && f.first != nil:
		x.toOrigin(ctx, f)
		return false
	case v == NotFound:
		x.noVersion(asked, versions)
		return false
	case v != Fine:
		x.beyond("resolve", v, f.passed, f.fix(x), "%s", f.about(x.name()))
		return false
	}
	if is := infoVersion(f.body); is != x.version && isVersion(is) {
		x.step("resolve", OK, nil, "%s is %s", x.version, is)
		x.version = is
	}
	return isVersion(x.version)
}

// noVersion says that a module has not this version, and which comes near.
func (x *explainer) noVersion(asked string, versions []string) {
	near := latestOf(versions)
	if x.version == near {
		near = ""
	}
	fix, tail := "gomirror refresh "+x.mod, "; it has no versions"
	if near != "" {
		fix, tail = "go get "+x.mod+"@"+near, fmt.Sprintf("; its latest is %s", near)
	}
	x.beyond("resolve", BadVersion, nil, fix, "%s has no version %s%s", x.mod, asked, tail)
}

// checkGoMod compares go.mod with what was asked for, and with the go command here.
func (x *explainer) checkGoMod(step string, detail []string) bool {
	mod, err := modfile.ParseLax("go.mod", []byte(x.goMod), nil)
	if err != nil {
		return true // go reads more than we do
	}
	if mod.Module != nil {
		is := mod.Module.Mod.Path
		if v := verdictOfNames(x.mod, is); v != Fine {
			x.step(step, Fail, detail, "its go.mod says that it is %s, not %s", is, x.mod)
			x.blame(v, goGet(is, x.version), "the module calls itself %s, not %s", is, x.mod)
			return false
		}
	}
	have := x.o.Go().Now.GOVERSION
	if mod.Go != nil && version.IsValid(have) && version.Compare("go"+mod.Go.Version, have) > 0 && x.o.Go().Now.GOTOOLCHAIN == "local" {
		x.step(step, Fail, detail, "it needs go %s, and this is %s", mod.Go.Version, have)
		x.blame(GoTooOld, "go env -w GOTOOLCHAIN=auto", "%s needs go %s, and this is %s, with GOTOOLCHAIN=local", x.name(), mod.Go.Version, have)
		return false
	}
	return true
}

// checkRetracted reads the latest go.mod, where authors take versions back.
func (x *explainer) checkRetracted(ctx context.Context, e upstream.Entry, versions []string) {
	latest, text := latestOf(versions), x.goMod
	if latest != "" && latest != x.version {
		k, err := cache.NewKey(x.mod, latest, cache.Mod)
		if err != nil {
			return
		}
		text = string(x.askMirror(ctx, e, k.String(), http.MethodGet).body)
	}
	mod, err := modfile.ParseLax("go.mod", []byte(text), nil)
	if err != nil {
		return
	}
	for _, r := range mod.Retract {
		if semver.Compare(r.Low, x.version) <= 0 && semver.Compare(x.version, r.High) <= 0 {
			why := oneLine(r.Rationale)
			if why == "" {
				why = "without a reason"
			}
			x.step("upstream", Warn, nil, "its author takes %s back: %s", x.version, why)
			x.blame(Retracted, "go get "+x.mod+"@latest", "its author takes %s back: %s; it can still be pulled", x.name(), why)
			return
		}
	}
}

// pathMajor is the version suffix of a path, "" or "/v2" or ".v2".
func pathMajor(path string) string {
	_, major, _ := module.SplitPathVersion(path)
	return major
}

func infoVersion(body []byte) string {
	var info struct{ Version string }
	if json.Unmarshal(body, &info) != nil {
		return ""
	}
	return info.Version
}

// semverList reads a list, in order.
func semverList(body []byte) []string {
	var versions []string
	for line := range strings.Lines(string(body)) {
		if f := strings.Fields(line); len(f) > 0 && semver.IsValid(f[0]) {
			versions = append(versions, f[0])
		}
	}
	semver.Sort(versions)
	return versions
}

// latestOf is the highest release, else the highest version.
func latestOf(versions []string) string {
	for _, v := range slices.Backward(versions) {
		if semver.Prerelease(v) == "" {
			return v
		}
	}
	if len(versions) == 0 {
		return ""
	}
	return versions[len(versions)-1]
}
