package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/redact"
	"github.com/gomirror/gomirror/serve/upstream"
)

// Step is a part of a pull, retold.
type Step struct {
	Name   string   `json:"name"` // "classify", "local", "resolve", "upstream" or "origin", "checksum", "go"
	Status Status   `json:"status"`
	Text   string   `json:"text"`
	Detail []string `json:"detail,omitempty"`
}

// Explanation is why a module can or can't be pulled.
type Explanation struct {
	Module  string  `json:"module,omitempty"`
	Version string  `json:"version,omitempty"`
	Private bool    `json:"private"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"` // one sentence
	Fix     string  `json:"fix,omitempty"`
	Steps   []Step  `json:"steps"`
}

// explainLimit is for a whole explanation. Its questions run at once where they can.
const explainLimit = 20 * time.Second

// Explain retells the pull of a module step by step, shows each step when it is done,
// and ends in a verdict. It asks whom the pull would ask and nobody else: a private
// module's name goes to its origin alone. Nothing is kept of the answers.
func Explain(ctx context.Context, o Options, t Target, show func(Step)) Explanation {
	ctx, cancel := context.WithTimeout(ctx, explainLimit)
	defer cancel()
	x := &explainer{o: o, n: newNetwork(o), target: t, mod: t.Path, version: t.Version, show: show}
	x.classify()
	x.local()
	switch {
	case x.unsure != nil:
		x.step("upstream", Skipped, nil, "nobody is asked: %s may be private", x.mod)
	case x.offline():
		x.unasked()
	case x.pattern != "":
		x.origin(ctx)
	default:
		x.upstreams(ctx)
	}
	if x.unsure == nil {
		x.checksums(ctx)
	}
	x.goView()
	return x.end()
}

// explainer is one explanation under way.
type explainer struct {
	o      Options
	n      *network
	target Target
	show   func(Step)

	mod     string           // the module, once it is known; before that a package perhaps
	version string           // canonical, once it is known
	pattern string           // by which it is private; "" if it is public
	list    []upstream.Entry // of upstreams, once it is read
	unsure  error            // why that can't be told
	held    bool             // gomirror or go has all files of the version
	goMod   string           // text of its go.mod, if that was had

	steps   []Step
	verdict Verdict
	text    string
	fix     string
}

func (x *explainer) name() string { return Target{Path: x.mod, Version: x.version}.String() }

// step adds a step and shows it.
func (x *explainer) step(name string, status Status, detail []string, format string, args ...any) {
	s := Step{Name: name, Status: status, Text: redact.Text(fmt.Sprintf(format, args...))}
	for _, line := range detail {
		s.Detail = append(s.Detail, redact.Text(line))
	}
	x.steps = append(x.steps, s)
	x.show(s)
}

// blame makes v the verdict if nothing before it is to blame.
func (x *explainer) blame(v Verdict, fix, format string, args ...any) {
	if x.verdict == "" {
		x.verdict, x.fix, x.text = v, cmp.Or(fix, fixOf(v, x.name())), redact.Text(fmt.Sprintf(format, args...))
	}
}

// beyond is a step about others than this machine. Where all files are held, what is
// wrong there fails no pull.
func (x *explainer) beyond(name string, v Verdict, detail []string, fix, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if x.held && v != LeakRisk {
		x.step(name, Warn, detail, "%s; what is held does for this version", text)
		return
	}
	x.step(name, Fail, detail, "%s", text)
	x.blame(v, fix, "%s", text)
}

// classify tells which way the module goes. All else depends on it.
func (x *explainer) classify() {
	g := x.o.Go()
	x.pattern = x.matching(x.o.private(g))
	detail := slices.Clone(x.target.Notes)
	if x.unsure = cmp.Or(x.o.SettingsErr, g.Err); x.unsure != nil && x.pattern == "" {
		// A pattern that was not read must not cost a name.
		x.step("classify", Fail, detail, "what is private can't be told: %v", x.unsure)
		x.blame(GoSettings, "gomirror doctor --only go", "what is private can't be told: %v", x.unsure)
		return
	}
	x.unsure = nil
	if x.pattern == "" {
		x.step("classify", OK, detail, "public: no private pattern matches -> upstreams, checksum database")
		return
	}
	from := "the setting private"
	switch one := []string{x.pattern}; {
	case len(uncovered(one, x.o.Private)) == 0:
	case len(uncovered(one, listed(g.Own.GOPRIVATE))) == 0:
		from = "GOPRIVATE"
	case len(uncovered(one, listed(g.Own.GONOPROXY))) == 0:
		from = "GONOPROXY"
	default:
		from = "the running gomirror"
	}
	x.step("classify", OK, detail, "private (matches %s, from %s) -> origin only, no mirror", x.pattern, from)
}

// matching returns the pattern that matches the module, or "".
func (x *explainer) matching(patterns []string) string {
	for _, p := range patterns {
		if upstream.MatchPrivate([]string{p})(x.mod) {
			return p
		}
	}
	return ""
}

// offline reports whether nobody is to be asked: by us, or by the sidecar that go asks.
func (x *explainer) offline() bool { return x.o.Offline || x.o.Daemon().Status.Offline }

// unasked is a step for --offline.
func (x *explainer) unasked() {
	why, fix := "offline", "gomirror doctor "+x.name()
	if runs := x.o.Daemon(); runs.Running && runs.Status.Offline {
		why, fix = "gomirror runs offline", x.o.restart("offline")
	}
	switch own := x.o.setting("offline"); {
	case own.Value != "true":
	case own.given():
		fix = x.n.restarted(x.o.unsetInShell(own.variable()), "offline")
	default:
		fix = x.n.restarted("gomirror config set offline false", "offline")
	}
	x.step("upstream", Skipped, nil, "nobody is asked: %s", why)
	if !x.held {
		x.blame(OfflineMode, fix, "%s is not held, and nobody is asked for it: %s", x.name(), why)
	}
}

// end draws the conclusion.
func (x *explainer) end() Explanation {
	if x.verdict == "" {
		x.verdict, x.text = Fine, fmt.Sprintf("%s can be pulled", x.name())
	}
	return Explanation{Module: x.mod, Version: x.version, Private: x.pattern != "", Verdict: x.verdict,
		Text: oneSentence(x.text), Fix: redact.Text(x.fix), Steps: x.steps}
}

func oneSentence(text string) string { return strings.Join(strings.Fields(text), " ") }

// prefixes returns the paths that may be the module of a package, the longest first,
// as the go command guesses them.
func prefixes(pkg string) []string {
	var all []string
	for path := pkg; ; {
		first, rest, _ := strings.Cut(path, "/")
		// Neither a host of many users nor one of them is a module.
		if codeHost := first == "github.com" || first == "gitlab.com" || first == "bitbucket.org"; codeHost && !strings.Contains(rest, "/") {
			return all
		}
		if module.CheckPath(path) == nil {
			all = append(all, path)
		}
		i := strings.LastIndexByte(path, '/')
		if i < 0 {
			return all
		}
		path = path[:i]
	}
}

// isVersion reports whether v is a whole version and no branch.
func isVersion(v string) bool { return v != "" && module.CanonicalVersion(v) == v }

// key is that of a file of the version, the zero Key if there is none.
func (x *explainer) key(kind cache.Kind) cache.Key {
	k, _ := cache.NewKey(x.mod, x.version, kind)
	return k
}
