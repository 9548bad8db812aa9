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

// upstreams retells the pull of a public module: which upstream answers what.
func (x *explainer) upstreams(ctx context.Context) {
	list, err := upstream.ParseList(x.o.Upstreams())
	if err != nil {
		x.step("upstream", Fail, nil, "the list of upstreams can't be read: %v", err)
		x.blame(UpstreamError, "gomirror config set upstream LIST", "the list of upstreams can't be read: %v", err)
		return
	}
	last := list[len(list)-1]
	proxies := slices.DeleteFunc(slices.Clone(list), func(e upstream.Entry) bool { return e.URL == "direct" || e.URL == "off" })
	if len(proxies) == 0 && last.URL == "direct" {
		x.origin(ctx)
		return
	}
	answers := x.askLists(ctx, proxies)
	e, mod, ok := chosenAnswer(answers)
	switch asked := x.mod; {
	case ok && !strings.HasPrefix(asked+"/", mod+"/"):
		x.step("resolve", Fail, nil, "%s is a version of %s, not of %s", x.version, mod, asked)
		x.blame(MajorSuffix, "go get "+mod+"@"+x.version, "the path of %s ends with its major version: %s", x.version, mod)
		return
	case ok:
		x.step("resolve", OK, nil, "module %s%s, at %s", mod, x.asPackage(mod), e)
		x.mod = mod
		x.version1(ctx, e, answers.of(e, mod))
		return
	}
	v, fault := answers.worst()
	switch {
	case v == NotFound && last.URL == "direct":
		x.step("upstream", OK, answers.lines(), "no upstream has it, so its origin is asked")
		x.origin(ctx)
	case v == NotFound:
		x.beyond("upstream", NotFound, answers.lines(), x.makePrivate(), "no upstream has a module %s: it is misspelt, or it is private and no pattern says so", x.mod)
	default:
		x.beyond("upstream", v, answers.lines(), fault.fix, "%s", fault.text)
	}
}

// makePrivate is the command that has a module fetched from its origin alone.
func (x *explainer) makePrivate() string {
	parts := strings.SplitN(x.mod, "/", 3)
	pattern := strings.Join(parts[:min(2, len(parts))], "/")
	fix := "gomirror config set private " + quote(strings.Join(append(slices.Clone(x.o.Private), pattern), ","))
	if x.o.Daemon().Running {
		fix += " && " + restart
	}
	return fix + " && " + setUp
}

// asPackage says which part of what was asked for is no module.
func (x *explainer) asPackage(mod string) string {
	if pkg, ok := strings.CutPrefix(x.target.Path, mod+"/"); ok {
		return fmt.Sprintf(" (%s is a package in it)", pkg)
	}
	return ""
}

// listAnswer is what an upstream says about the versions of a path.
type listAnswer struct {
	entry upstream.Entry
	mod   string
	reply
}

type listAnswers []listAnswer

// askLists asks all upstreams about all paths that may be the module, at once.
func (x *explainer) askLists(ctx context.Context, proxies []upstream.Entry) listAnswers {
	paths := prefixes(x.mod)
	// What people forget most is asked for too.
	if major := semver.Major(x.version); isVersion(x.version) && module.CheckPathMajor(x.version, pathMajor(x.mod)) != nil {
		prefix, _, _ := module.SplitPathVersion(x.mod)
		if major > "v1" || len(major) > 2 {
			prefix += "/" + major
		}
		paths = append([]string{prefix}, paths...)
	}
	answers := make(listAnswers, len(proxies)*len(paths))
	var all sync.WaitGroup
	for i, e := range proxies {
		for j, path := range paths {
			a := &answers[i*len(paths)+j]
			a.entry, a.mod = e, path
			all.Go(func() { a.reply = x.askList(ctx, e, path) })
		}
	}
	all.Wait()
	return answers
}

// askList asks for the list, and for the latest version where there is no list.
func (x *explainer) askList(ctx context.Context, e upstream.Entry, path string) reply {
	k, err := cache.NewKey(path, "", cache.List)
	if err != nil {
		return reply{status: http.StatusNotFound}
	}
	r := x.askMirror(ctx, e, k.String(), http.MethodGet)
	if r.verdict() != NotFound && (r.verdict() != Fine || len(strings.TrimSpace(string(r.body))) > 0) {
		return r
	}
	latest, _ := cache.NewKey(path, "", cache.Latest)
	one := x.askMirror(ctx, e, latest.String(), http.MethodGet)
	if one.verdict() != Fine {
		return r
	}
	one.body = []byte(infoVersion(one.body))
	return one
}

// chosenAnswer is that of the first upstream that knows some of the paths, for the
// longest of them.
func chosenAnswer(answers listAnswers) (e upstream.Entry, mod string, ok bool) {
	for _, a := range answers {
		if a.verdict() == Fine && len(strings.TrimSpace(string(a.body))) > 0 {
			return a.entry, a.mod, true
		}
	}
	return e, "", false
}

func (l listAnswers) of(e upstream.Entry, mod string) []string {
	for _, a := range l {
		if a.entry == e && a.mod == mod {
			return semverList(a.body)
		}
	}
	return nil
}

// worst is what counts if nobody has the module: a fault, if there is one.
func (l listAnswers) worst() (Verdict, fault) {
	for _, a := range l {
		if v := a.verdict(); v != NotFound && v != Fine {
			f := fault{text: a.entry.String() + " answers " + a.reply.String()}
			if a.fault != nil {
				f.text, f.fix = a.fault.text, a.fault.fix
			}
			return v, f
		}
	}
	return NotFound, fault{}
}

// lines tells what each upstream answered about the longest path.
func (l listAnswers) lines() []string {
	var lines []string
	seen := make(map[upstream.Entry]bool)
	for _, a := range l {
		if !seen[a.entry] {
			lines = append(lines, fmt.Sprintf("%s: %s", a.entry, a.reply))
		}
		seen[a.entry] = true
	}
	return lines
}

// version1 looks at one version at one upstream.
func (x *explainer) version1(ctx context.Context, e upstream.Entry, versions []string) {
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
	if !x.resolveAt(ctx, e, asked, versions) {
		return
	}
	if !x.held {
		x.held = x.heldIn(x.ownTree()) || x.heldIn(x.goTree())
	}
	var mod, zip reply
	var both sync.WaitGroup
	both.Go(func() { mod = x.askMirror(ctx, e, x.key(cache.Mod).String(), http.MethodGet) })
	both.Go(func() { zip = x.askMirror(ctx, e, x.key(cache.Zip).String(), http.MethodHead) })
	both.Wait()
	var detail []string
	for name, r := range map[string]reply{".mod": mod, ".zip": zip} {
		detail = append(detail, fmt.Sprintf("%s: %s", name, r))
	}
	slices.Sort(detail)
	for _, r := range []reply{mod, zip} {
		// A signed address refuses a HEAD that it would answer as a GET.
		if v := r.verdict(); v != Fine && !(len(r.hops) > 0 && r.status == http.StatusForbidden) {
			fix := ""
			if r.fault != nil {
				fix = r.fault.fix
			}
			x.beyond("upstream", v, detail, fix, "%s answers %s for a file of %s", e, r, x.name())
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
	x.step("upstream", OK, detail, "%s has %s", e, x.name())
	x.checkRetracted(ctx, e, versions)
}

// resolveAt asks an upstream what a version or a branch is.
func (x *explainer) resolveAt(ctx context.Context, e upstream.Entry, asked string, versions []string) bool {
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
	r := x.askMirror(ctx, e, k.String(), http.MethodGet)
	switch v := r.verdict(); {
	case v == NotFound:
		x.noVersion(asked, versions)
		return false
	case v != Fine:
		fix := ""
		if r.fault != nil {
			fix = r.fault.fix
		}
		x.beyond("resolve", v, nil, fix, "%s answers %s about %s", e, r, x.name())
		return false
	}
	if is := infoVersion(r.body); is != "" && is != x.version {
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
			x.blame(v, "go get "+Target{Path: is, Version: x.version}.String(), "the module calls itself %s, not %s", is, x.mod)
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
