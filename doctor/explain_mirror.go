package doctor

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// upstreams retells the pull of a public module: which upstream answers what.
func (x *explainer) upstreams(ctx context.Context) {
	var err error
	if x.list, err = upstream.ParseList(x.n.upstreams()); err != nil {
		x.step("upstream", Fail, nil, "the list of upstreams can't be read: %v", err)
		x.blame(UpstreamError, "gomirror config set upstream LIST", "the list of upstreams can't be read: %v", err)
		return
	}
	if x.list[0].URL == "direct" {
		x.origin(ctx)
		return
	}
	answers := x.askLists(ctx)
	at := slices.IndexFunc(answers, func(a listAnswer) bool { return a.verdict() != NotFound })
	if at < 0 {
		x.nowhere(ctx, answers)
		return
	}
	switch a := answers[at]; {
	case a.verdict() != Fine:
		x.beyond("upstream", a.verdict(), a.passed, a.fix(x), "%s", a.about(a.mod))
	case !strings.HasPrefix(x.mod+"/", a.mod+"/"):
		x.step("resolve", Fail, nil, "%s is a version of %s, not of %s", x.version, a.mod, x.mod)
		x.blame(MajorSuffix, "go get "+a.mod+"@"+x.version, "the path of %s ends with its major version: %s", x.version, a.mod)
	default:
		x.step("resolve", OK, a.passed, "module %s%s, at %s", a.mod, x.asPackage(a.mod), a.entry)
		x.mod = a.mod
		x.versionAt(ctx, semverList(a.body))
	}
}

// nowhere is of a path that no upstream has.
func (x *explainer) nowhere(ctx context.Context, answers []listAnswer) {
	for _, a := range answers {
		if a.direct() {
			x.toOrigin(ctx, a.heard)
			return
		}
	}
	var lines []string
	if len(answers) > 0 {
		lines = answers[0].passed
	}
	x.beyond("upstream", NotFound, lines, x.makePrivate(), "no upstream has a module %s: it is misspelt, or it is private and no pattern says so", x.mod)
}

// makePrivate is the command that has a module fetched from its origin alone.
func (x *explainer) makePrivate() string {
	parts := strings.SplitN(x.mod, "/", 3)
	pattern := strings.Join(parts[:min(2, len(parts))], "/")
	known := slices.Clone(x.o.Private)
	for _, p := range x.o.Daemon().Status.Served {
		if !slices.Contains(known, p) {
			known = append(known, p) // a setting that was a flag stays private, too
		}
	}
	list := strings.Join(append(known, pattern), ",")
	fix := "gomirror config set private " + quote(list)
	if own := x.o.setting("private"); own.given() { // which goes before the file
		fix = x.o.exported(own.variable(), list)
	}
	if x.o.Daemon().Running {
		fix += " && " + x.o.restart("private")
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

// listAnswer is what the upstreams say about the versions of a path.
type listAnswer struct {
	mod string
	heard
}

// askLists asks the upstreams about all paths that may be the module at once, what was
// asked for first.
func (x *explainer) askLists(ctx context.Context) []listAnswer {
	paths := append(x.forgotten(), prefixes(x.mod)...)
	answers := make([]listAnswer, len(paths))
	var all sync.WaitGroup
	for i, path := range paths {
		answers[i].mod = path
		all.Go(func() {
			answers[i].heard = x.walk(func(e upstream.Entry) reply { return x.askList(ctx, e, path) })
		})
	}
	all.Wait()
	return answers
}

// forgotten is the path with the major version of what was asked for, which people
// forget most; nil where it is not missing.
func (x *explainer) forgotten() []string {
	prefix, pathMajor, _ := module.SplitPathVersion(x.mod)
	major := semver.Major(x.version)
	gopkg := strings.HasPrefix(x.mod, "gopkg.in/")
	switch {
	case !isVersion(x.version), module.CheckPathMajor(x.version, pathMajor) == nil && (!gopkg || pathMajor != ""):
		return nil
	case gopkg:
		prefix += "." + major
	case major > "v1" || len(major) > 2:
		prefix += "/" + major
	}
	return []string{prefix}
}

// askList asks for the list, and for the latest version where there is no list. A path
// without a version is no module.
func (x *explainer) askList(ctx context.Context, e upstream.Entry, path string) reply {
	k, err := cache.NewKey(path, "", cache.List)
	if err != nil {
		return reply{status: http.StatusNotFound}
	}
	r := x.askMirror(ctx, e, k.String(), http.MethodGet)
	if r.verdict() != NotFound && (r.verdict() != Fine || len(strings.TrimSpace(string(r.body))) > 0) {
		return r
	}
	latest, err := cache.NewKey(path, "", cache.Latest)
	if err != nil {
		return r
	}
	one := x.askMirror(ctx, e, latest.String(), http.MethodGet)
	if one.verdict() != Fine {
		return reply{status: http.StatusNotFound}
	}
	one.body = []byte(infoVersion(one.body))
	return one
}
