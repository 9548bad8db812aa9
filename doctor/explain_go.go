package doctor

import (
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/serve/upstream"
)

// goView tells what the go command of this shell would do with the module: whom it
// would ask, and who would learn the name.
func (x *explainer) goView() {
	g := x.o.Go()
	if g.Err != nil {
		x.step("go", Skipped, nil, "go does not tell its settings, see gomirror doctor --only go")
		return
	}
	list := entries(g.Now.GOPROXY)
	at := slices.IndexFunc(list, upstream.IsOurs)
	past := module.MatchPrefixPatterns(g.Now.GONOPROXY, x.mod)
	if x.pattern != "" && x.leaks(g, list, past) {
		return
	}
	switch {
	case g.Now.GO111MODULE == "off":
		x.step("go", Fail, nil, "GO111MODULE=off: go pulls no modules")
		x.blame(GoSettings, x.o.unset("GO111MODULE"), "GO111MODULE=off: go pulls no modules")
	case past:
		x.step("go", OK, nil, "go skips every proxy for it (GONOPROXY) and runs git itself")
	case slices.Equal(list, []string{"off"}):
		x.step("go", Fail, nil, "GOPROXY=off forbids go all downloads")
		x.blame(GoSettings, x.o.unset("GOPROXY")+" && "+setUp, "GOPROXY=off forbids go all downloads")
	case strings.Contains(g.Now.GOFLAGS, "-mod=vendor"):
		x.step("go", Warn, nil, "GOFLAGS=-mod=vendor has go build from the vendor folder and pull nothing")
	case at < 0:
		x.step("go", OK, nil, "go of this shell does not ask gomirror but %s", then(list))
	case !x.o.Daemon().Running:
		x.notRunning(list[at+1:])
	default:
		text := "go asks gomirror"
		if len(list) > at+1 {
			text += ", and if that fails " + then(list[at+1:])
		}
		if x.verdict.Failed() && x.verdict != "" && slices.Contains(list[at:], "direct") {
			text += ": go then prints the error of git and not this one"
		}
		x.step("go", OK, nil, "%s", text)
	}
}

// notRunning says what go does without us.
func (x *explainer) notRunning(behind []string) {
	if len(behind) > 0 && x.pattern == "" {
		x.step("go", Warn, nil, "gomirror does not run, so go asks %s", then(behind))
		return
	}
	x.step("go", Fail, nil, "gomirror does not run, and go asks it")
	x.blame(NotRunning, x.o.restart(), "gomirror does not run, and go asks it for %s", x.mod)
}

// leaks tells who would hear of a private module.
func (x *explainer) leaks(g Go, list []string, past bool) bool {
	mirrors := slices.DeleteFunc(slices.Clone(list), silent)
	tells := !past && len(mirrors) > 0
	// Not of GONOPROXY alone: who sets that may want checksums of public forks.
	secret := x.matching(slices.Concat(x.o.Private, listed(g.Own.GOPRIVATE), x.o.Daemon().Status.Unasked)) != ""
	looked := secret && g.Now.GOSUMDB != "off" && !module.MatchPrefixPatterns(g.Now.GONOSUMDB, x.mod)
	switch {
	case tells && looked:
		mirrors = append(mirrors, database(g.Now.GOSUMDB))
	case looked:
		mirrors = []string{database(g.Now.GOSUMDB)}
	case !tells:
		return false
	}
	x.step("go", Fail, nil, "go of this shell would tell %s the name of this private module", then(mirrors))
	x.blame(LeakRisk, x.o.setUpFix(), "%s is private, and go of this shell would ask %s for it", x.mod, then(mirrors))
	return true
}
