//go:build unix

package doctor_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve/githosttest"
)

// fault is one thing wrong with a machine on which all else is well.
type fault struct {
	name string
	set  func(*whole)
	want string   // "N01 fail part of the text -> part of the fix"
	also []string // what follows from it for other checks; nothing else may complain
	cure bool     // the fix can be run here, and then all is well
}

// goFaults are in Go's variables, and gomirror's own.
func goFaults() []fault {
	setVar := func(name, value string) func(*whole) { return func(w *whole) { w.vars[name] = value } }
	filed := func(line string) func(*whole) {
		return func(w *whole) { w.write(w.path("goenv"), line+"\n", 0o600) }
	}
	const env = `eval "$(gomirror env)"`
	return []fault{
		{"no go", func(w *whole) {
			dir := strings.TrimSpace(w.run("dirname $(command -v go)"))
			w.vars["PATH"] = strings.ReplaceAll(w.vars["PATH"], dir, w.path("none"))
		}, "E01 fail there is no go command in PATH -> https://go.dev/dl", nil, false},
		{"GOROOT of a go that is gone", setVar("GOROOT", "/none"), "E02 fail go env fails -> unset GOROOT", nil, true},
		{"GO111MODULE=off", setVar("GO111MODULE", "off"), "E02 fail -> unset GO111MODULE", nil, true},
		{"GO111MODULE=off, kept", filed("GO111MODULE=off"), "E02 fail -> go env -u GO111MODULE", nil, true},
		{"GOPROXY without gomirror", setVar("GOPROXY", "https://mirror.example.com,direct"), "E03 fail does not name gomirror -> " + env, nil, true},
		{"GOPROXY=off", setVar("GOPROXY", "off"), "E03 fail forbids go all downloads -> " + env, nil, true},
		{"GOPROXY with an old port", func(w *whole) {
			_, port, _ := net.SplitHostPort(w.address())
			w.vars["GOPROXY"] = strings.Replace(w.vars["GOPROXY"], ":"+port, ":1", 1)
		}, "E03 fail names an address that gomirror no longer has -> " + env, nil, true},
		{"GOPROXY with an old capability", func(w *whole) { w.run("gomirror stop; gomirror serve --background --rotate-url") },
			"E03 fail names an address that gomirror no longer has -> " + env, nil, true},
		{"GOPROXY with another first", func(w *whole) { w.vars["GOPROXY"] = "https://mirror.example.com," + w.vars["GOPROXY"] },
			"E03 fail ask https://mirror.example.com before gomirror -> " + env, []string{"E05 fail https://mirror.example.com, which learns"}, true},
		{"GOPROXY with a mirror behind", func(w *whole) {
			w.vars["GOPROXY"] = strings.Replace(w.vars["GOPROXY"], "|", "|https://mirror.example.com,", 1)
		}, "E05 fail https://mirror.example.com, which learns the names -> " + env, nil, true},
		{"GONOPROXY takes all past", setVar("GONOPROXY", "github.com/acme"), "E04 fail makes go skip gomirror for github.com/acme -> " + env, nil, true},
		{"GONOPROXY emptied", func(w *whole) { w.vars["GONOPROXY"], w.vars["GOPRIVATE"] = "", "github.com/acme" },
			"E04 fail GOPRIVATE=github.com/acme makes go skip gomirror -> " + env, nil, true},
		{"GONOSUMDB emptied", func(w *whole) { w.vars["GONOSUMDB"] = "none" }, "E06 fail lacks github.com/acme -> " + env, nil, true},
		{"GOSUMDB of nobody", setVar("GOSUMDB", "sum.example.org"), "E06 fail no checksum database that go knows -> unset GOSUMDB", nil, true},
		{"GOSUMDB past gomirror", setVar("GOSUMDB", "sum.golang.org https://sum.golang.org"), "E06 warn is asked past gomirror -> " + env, nil, true},
		{"token without a pattern", func(w *whole) {
			w.run("gomirror config set private ''; gomirror stop; gomirror serve --background")
			w.fix(env)
		}, "E06 warn no pattern says what is private -> gomirror config set private github.com/acme", nil, true},
		{"kept address that others can read", func(w *whole) { w.write(w.path("goenv"), "GOPROXY="+w.vars["GOPROXY"]+"\n", 0o644) },
			"E07 fail other users can read the address -> chmod 600", nil, true},
		{"shell hides what is kept", func(w *whole) {
			w.fix(`go env -w GOPROXY="$GOPROXY"; chmod 600 goenv`)
			w.vars["GOPROXY"] = "https://mirror.example.com,direct"
		}, "E07 fail hides the one of go env -w -> unset GOPROXY", []string{"E03 fail does not name gomirror"}, true},
		{"pattern with a scheme", func(w *whole) { w.vars["GOPRIVATE"] = "https://git.corp.example/team"; w.fix(env) },
			"E08 warn has a scheme -> export GOPRIVATE=git.corp.example/team", nil, true},
		{"pattern with a star too much", func(w *whole) {
			w.run("gomirror config set private 'github.com/acme*'")
			w.fix(restartLine + "; " + env)
		},
			"E08 warn also takes in owners -> gomirror config set private github.com/acme", nil, true},
		{"flag that go does not know", setVar("GOFLAGS", "-modcacherw -bogus"), "E09 fail go refuses GOFLAGS -> export GOFLAGS=-modcacherw", nil, true},
		{"value that go does not know", setVar("GOFLAGS", "-modcacherw -mod=bogus"), "E09 fail go refuses GOFLAGS -> export GOFLAGS=-modcacherw", nil, true},
		{"flags that go does not take", setVar("GOFLAGS", "-mod bogus -buildvcs=x '-ldflags=-s -w' -modcacherw"),
			"E09 fail go refuses GOFLAGS -> export GOFLAGS=", nil, true},
		{"variable that go no longer reads", setVar("GONOSUMCHECK", "1"), "E09 warn GONOSUMCHECK does nothing -> unset GONOSUMCHECK", nil, true},
		{"editor that goes past", func(w *whole) { w.write(w.path("bin", "code"), "#!/bin/sh\n", 0o700) }, "E10 warn VS Code -> go env -w", nil, true},
		{"setting that is none", func(w *whole) {
			w.vars["EDITOR"] = "cp good"
			w.write(w.path("good"), w.config, 0o600)
			w.write(w.path("config", "gomirror", "config.toml"), "upstraem = 'x'\nprivate = ['github.com/acme']\n", 0o600)
		}, "E11 fail can't read its settings -> ${EDITOR:-vi} ", nil, true},
	}
}

const restartLine = "gomirror stop; gomirror serve --background"

// machineFaults are in the sidecar, the folders and git.
func machineFaults() []fault {
	chmod := func(mode os.FileMode, names ...string) func(*whole) {
		return func(w *whole) {
			if err := os.Chmod(w.path(names...), mode); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	const start = "gomirror serve --background"
	return []fault{
		{"stopped", func(w *whole) { w.run("gomirror stop") }, "D01 fail gomirror does not run -> " + start, nil, true},
		{"killed", func(w *whole) {
			kill(w.t, w.pid(), syscall.SIGKILL)
			w.await(func() bool { return !w.holds() })
		}, "D01 fail gomirror does not run -> " + start, nil, true},
		{"hangs", (*whole).freeze, "D01 fail does not answer on its control socket -> kill -9", nil, true},
		{"foreign listener", func(w *whole) {
			w.run("gomirror stop")
			l, err := net.Listen("tcp", w.address())
			if err != nil {
				w.t.Fatal(err)
			}
			squatter := &http.Server{Handler: http.NotFoundHandler()}
			go squatter.Serve(l) // ends with Close
			w.t.Cleanup(func() { squatter.Close() })
		}, "D02 fail another program listens on -> --listen 127.0.0.1:0", []string{"D01 fail gomirror does not run -> --listen 127.0.0.1:0"}, true},
		{"address of another time", func(w *whole) { w.write(w.state("address"), "127.0.0.1:1\n", 0o600) },
			"D02 fail nobody listens on 127.0.0.1:1 -> " + restartLine, []string{"E03 fail an address that gomirror no longer has"}, true},
		{"program replaced", func(w *whole) { w.copyProgram(w.path("bin", "gomirror")) }, "D04 warn has changed since -> " + restartLine, nil, true},
		{"loop", func(w *whole) {
			w.run("gomirror config set upstream http://" + w.address() + ",https://second.example.net,direct; " + restartLine)
		}, "D06 fail names gomirror's own address -> gomirror config set upstream https://second.example.net,direct", nil, true},
		{"cache that others write", chmod(0o777, "cache", "gomirror"), "S01 fail others may write to -> chmod 700", []string{"S03 fail others may write to"}, true},
		{"capability that others read", chmod(0o644, "state", "gomirror", "capability"), "S01 warn others may read -> chmod 600", nil, true},
		{"folder above that others write", chmod(0o777, "cache"), "S03 fail others may write to -> chmod go-w", nil, true},
		{"tokens that others read", chmod(0o644, "state", "gomirror", "credentials.json"), "A01 fail others may read or write it -> chmod 600",
			[]string{"S01 warn others may read", "A04 fail there is no token"}, true},
		{"disk full", func(w *whole) { w.write(w.path("full"), "", 0o600) }, "S02 fail is full: 50 MB free -> gomirror config set cache.dir DIR", nil, false},
		{"clock two days ahead", func(w *whole) { w.write(w.path("clock"), "48h10m", 0o600) }, "S04 fail is 2 days ahead of -> timedatectl set-ntp true", nil, true},
		{"clock two days behind", func(w *whole) { w.write(w.path("clock"), "-48h10m", 0o600) }, "S04 fail is 2 days behind -> timedatectl set-ntp true",
			[]string{"N01 fail holds only from -> timedatectl set-ntp true"}, true},
		{"cache corrupt", func(w *whole) {
			w.run("go mod download example.com/quote@v1.5.2; chmod -R u+w gopath; rm -r gopath")
			w.write(w.held("v1.5.2.zip"), "no zip", 0o600)
		}, "C01 fail changed on the disk -> rm ", nil, true},
		{"git asks a relay", func(w *whole) { w.run("git config --global url.https://relay.example/.insteadOf https://github.com/") },
			"N02 warn git asks https://relay.example/ in place of github.com -> git config --global --unset-all", nil, true},
		{"git can't read its settings", func(w *whole) {
			w.vars["EDITOR"] = "truncate -s 0"
			w.write(w.path(".gitconfig"), "[broken\n", 0o600)
		}, "N02 warn git can't read its own settings -> ${EDITOR:-vi} ", nil, true},
	}
}

// authFaults are in tokens and what GitHub says of them.
func authFaults() []fault {
	is := func(change func(*githosttest.Account)) func(*whole) {
		return func(w *whole) { a := sound(); change(&a); w.hub.Account(canary, a) }
	}
	return []fault{
		{"GitHub 401", is(func(a *githosttest.Account) { a.Bad = true }), "A02 fail does not accept the token -> gomirror auth login", nil, false},
		{"GitHub 403, single sign-on", is(func(a *githosttest.Account) {
			a.SSO = map[string]string{"acme": "https://github.com/orgs/acme/sso?authorization_request=1"}
		}), "A04 fail authorised for its single sign-on -> https://github.com/orgs/acme/sso", nil, false},
		{"GitHub 403, limit", is(func(a *githosttest.Account) { a.RateReset = time.Now().Add(time.Hour) }), "A02 warn answers no more requests -> wait until", nil, false},
		{"GitHub 429", func(w *whole) {
			w.hub.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Authorization") != "" {
					rw.Header().Set("Retry-After", "600")
					rw.WriteHeader(http.StatusTooManyRequests)
					return true
				}
				return false
			})
		}, "A02 warn answers no more requests -> wait until", nil, false},
		{"GitHub 404", func(w *whole) {
			w.run("gomirror config set private github.com/acme/none")
			w.fix(restartLine + `; eval "$(gomirror env)"`)
		}, "A04 fail does not exist, or the token may not see it -> gomirror auth login --owner acme", nil, false},
		{"GitHub 500", func(w *whole) { w.api.Serve(answer(500, "text/plain", "")) }, "N01 fail api.github.com is out of order (500 -> gomirror doctor --only N01",
			[]string{"A02 warn its answer is none of GitHub's"}, false},
		{"page in place of GitHub", func(w *whole) { w.api.Serve(answer(200, "text/html", "<h1>Welcome")) }, "A02 warn its answer is none of GitHub's -> gomirror doctor --only N01", nil, false},
		{"token without its scope", is(func(a *githosttest.Account) { a.Scopes = []string{"gist"} }), "A03 fail lacks the scope repo -> settings/tokens/new?scopes=repo", nil, false},
		{"token that ends soon", is(func(a *githosttest.Account) { a.Expires = time.Now().Add(50 * time.Hour) }), "A03 warn expires on -> gomirror auth login", nil, false},
		{"gh's variable", func(w *whole) { w.vars["GH_TOKEN"] = other }, "A05 warn GH_TOKEN is another token -> unset GH_TOKEN", nil, true},
		{"variable with a bad token", func(w *whole) { w.vars["GOMIRROR_GITHUB_TOKEN"] = other }, "A02 fail does not accept the token -> unset GOMIRROR_GITHUB_TOKEN",
			[]string{"A05 warn -> unset GOMIRROR_GITHUB_TOKEN"}, true},
	}
}

// suffer has the machine have a fault, the doctor tell of it and of nothing else, and the
// fix, where it can be run, be its cure.
func (w *whole) suffer(faults ...fault) {
	w.t.Helper()
	var want []complaint
	var may []string
	for _, f := range faults {
		f.set(w)
		want, may = append(want, wanted(f.want)), append(may, f.also...)
	}
	got, wrong := w.alarms(want, may)
	for _, c := range got {
		if !readable(c.fix) {
			w.t.Errorf("no shell reads the fix %s", c.fix)
		}
	}
	for _, c := range want {
		if !slices.ContainsFunc(got, func(g complaint) bool { return g.meets(c) }) {
			w.t.Errorf("got  %v\nwant %s", got, c)
		}
	}
	for _, c := range wrong {
		w.t.Errorf("false alarm: %s", c)
	}
	if len(faults) > 1 || !faults[0].cure || w.t.Failed() {
		return
	}
	i := slices.IndexFunc(got, func(c complaint) bool { return c.meets(want[0]) })
	w.cure(got[i])
}

// alarms returns what the doctor complains of, and what of that is neither wanted nor may
// be. A machine so busy that go, or the lab's DNS, misses its time is asked once more.
func (w *whole) alarms(want []complaint, may []string) (got, wrong []complaint) {
	w.t.Helper()
	for range 3 {
		got = complaints(w.ask())
		wrong = slices.DeleteFunc(slices.Clone(got), func(c complaint) bool {
			return slices.ContainsFunc(want, c.meets) || slices.ContainsFunc(may, func(line string) bool { return c.meets(wanted(line)) })
		})
		if !slices.ContainsFunc(wrong, complaint.starved) {
			break
		}
		w.t.Logf("too busy: %v", wrong)
	}
	return got, wrong
}

// starved reports whether a complaint is of time alone, of which no fault here makes go
// lack any.
func (c complaint) starved() bool {
	return c.id == "E02" && strings.Contains(c.text, "does not end") || c.id[0] == 'A' && strings.Contains(c.fix, "--only N01")
}

// cure runs a fix. Where a new address comes of it, the shell has to hear of that too, as
// the doctor then says.
func (w *whole) cure(c complaint) {
	w.t.Helper()
	fix := strings.NewReplacer(w.blanks...).Replace(c.fix)
	w.fix(fix)
	left, _ := w.alarms(nil, nil)
	if len(left) == 1 && left[0].id == "E03" && c.id != "E03" {
		w.fix(left[0].fix)
		left, _ = w.alarms(nil, nil)
	}
	if len(left) > 0 || w.verdict != 0 {
		w.t.Errorf("after %s: exit code %d and %v", fix, w.verdict, left)
	}
}

// complaint is one thing that a doctor has to say: "N01 fail text -> fix".
type complaint struct{ id, status, text, fix string }

func (c complaint) String() string {
	return fmt.Sprintf("%s %s %s -> %s", c.id, c.status, c.text, c.fix)
}

// wanted reads "N01 fail part of the text -> part of the fix".
func wanted(line string) complaint {
	head, fix, _ := strings.Cut(line, " -> ")
	fields := strings.SplitN(head, " ", 3)
	c := complaint{id: fields[0], status: fields[1], fix: fix}
	if len(fields) > 2 {
		c.text = fields[2]
	}
	return c
}

func (c complaint) meets(want complaint) bool {
	return c.id == want.id && c.status == want.status && strings.Contains(c.text, want.text) && strings.Contains(c.fix, want.fix)
}

// complaints returns what is wrong, in the order of the checks' names.
func complaints(reports map[string]report) (all []complaint) {
	for _, id := range slices.Sorted(maps.Keys(reports)) {
		for _, f := range reports[id].Findings {
			if f.Status == doctor.Fail || f.Status == doctor.Warn {
				all = append(all, complaint{id, string(f.Status), f.Text, f.Fix})
			}
		}
	}
	return all
}
