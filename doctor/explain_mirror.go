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
		x.versionAt(ctx, e, answers.of(e, mod))
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
