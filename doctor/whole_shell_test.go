//go:build unix

package doctor_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/doctor/doctortest"
)

// shellFaults are in the shell that gomirror was started from, which is another than that
// of the doctor: in this one all is well.
func shellFaults() []fault {
	startedWith := func(vars, flags string) func(*whole) {
		return func(w *whole) { w.run("gomirror stop; " + vars + " gomirror serve --background " + flags) }
	}
	const again = " -> " + restartLine
	return []fault{
		{"HTTP proxy there, dead", func(w *whole) { startedWith("HTTPS_PROXY=http://"+w.lab.Closed(), "")(w) },
			"N01 fail (from HTTPS_PROXY of the gomirror that runs) refuses connections" + again, noGitHub(), true},
		{"HTTP proxy there, bars GitHub", func(w *whole) {
			p := w.lab.Proxy()
			p.Bar("github.com")
			startedWith("https_proxy="+p.URL, "")(w)
		}, "N01 fail does not connect to github.com: it answers 403" + again, nil, true},
		{"HTTP proxy here alone, and no way but through it", func(w *whole) {
			for _, h := range w.hosts() {
				h.Port(doctortest.Swallows)
			}
			w.vars["HTTPS_PROXY"] = w.lab.Proxy().URL
		}, "N01 fail no host answers" + again, noGitHub(), true},
		{"other authorities there", func(w *whole) { startedWith("SSL_CERT_FILE="+w.path("none"), "")(w) },
			"N01 fail https://mirror.example.com shows a certificate that" + again, []string{"N01 fail by the variables of this shell" + again}, true},
		{"network.ca_file set, and not started anew", func(w *whole) {
			ca := doctortest.NewAuthority(w.t, "Zscaler Root CA")
			ca.WritePEM(w.path("corp.pem"))
			w.mirror.TLS(doctortest.UnknownIssuer, ca)
			w.run("gomirror config set network.ca_file " + w.path("corp.pem"))
		}, "N01 fail Zscaler Root CA opens the TLS to mirror.example.com" + again, []string{"D07 warn network.ca_file" + again}, true},
		{"upstream set, and not started anew", func(w *whole) { w.run("gomirror config set upstream https://second.example.net,direct") },
			`D07 warn settings from before a change: upstream = "", and ` + again, nil, true},
		{"private, and nothing set up", func(w *whole) { w.vars["GOPROXY"], w.vars["GONOSUMDB"] = "direct", "none" },
			"E06 fail lacks github.com/acme, so go names private modules to sum.golang.org -> eval \"$(gomirror env)\"", []string{"E03 fail does not name gomirror"}, true},
		{"started offline", startedWith("", "--offline --prefetch off"), "D07 warn runs offline -> gomirror stop; gomirror serve --background --prefetch off", nil, true},
		{"program replaced, started with flags", func(w *whole) {
			startedWith("GOMIRROR_NETWORK_HOSTS=git.corp.example", "--private github.com/acme,git.corp.example/team")(w)
			w.copyProgram(w.path("bin", "gomirror"))
			w.fix(`eval "$(gomirror env)"`)
		}, "D04 warn has changed since -> gomirror stop; GOMIRROR_NETWORK_HOSTS=git.corp.example gomirror serve --background --private github.com/acme,git.corp.example/team", nil, true},
	}
}

// freeze stops gomirror, and waits until all of its threads have heard of it, where the
// system tells.
func (m *machine) freeze() {
	m.t.Helper()
	pid := m.pid()
	kill(m.t, pid, syscall.SIGSTOP)
	m.await(func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		return !slices.ContainsFunc(threads, func(name string) bool {
			text, err := os.ReadFile(name)
			return err == nil && !strings.Contains(string(text), ") T ")
		})
	})
}

// status is what a sidecar says it goes by.
func (m *machine) status() (d doctor.DaemonStatus) {
	m.t.Helper()
	if err := json.Unmarshal([]byte(m.run("gomirror status --json")), &d); err != nil {
		m.t.Fatal(err)
	}
	return d
}

// TestRestartKeeps has a sidecar from another shell, with flags and variables that this
// one does not have: what doctor advises makes it forget none of them.
func TestRestartKeeps(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.run("gomirror config set private example.org/ours")
	m.run(`GOPRIVATE=git.corp.example/team GONOSUMDB=git.corp.example/team,sums.example GOMIRROR_PREFETCH_BUDGET=16MiB GOMIRROR_NETWORK_PEER_CHECK=false gomirror serve --background \
--private 'github.com/acme,*.inner.example' --cache-dir "big one" --upstream 'https://ann:s3cret@mirror.example.com,` + m.upstream.URL + `|direct' --prefetch off --allow-host localhost:1`)
	before := m.status()
	if text := m.run("gomirror status --json"); strings.Contains(text, "s3cret") {
		t.Errorf("the password is told: %s", text)
	}
	m.copyProgram(m.path("bin", "gomirror"))
	got := m.diagnose("D04 warn")["D04"].Findings[0].Fix
	if !strings.Contains(got, "--upstream 'https://USER:PASSWORD@mirror.example.com,"+m.upstream.URL+"|direct'") {
		t.Errorf("the fix is %s", got)
	}
	m.fix(strings.Replace(got, "USER:PASSWORD", "ann:s3cret", 1))
	m.diagnose("D04 ok")
	after := m.status()
	for _, p := range before.Private {
		if !slices.Contains(after.Private, p) {
			t.Errorf("%s is private no more: %q", p, after.Private)
		}
	}
	if !strings.Contains(after.GONOSUMDB, "sums.example") {
		t.Errorf("GONOSUMDB was %q, is %q", before.GONOSUMDB, after.GONOSUMDB)
	}
	for i, s := range before.Settings {
		if is := after.Settings[i]; s.Name != "private" && is.Value != s.Value {
			t.Errorf("%s was %q, is %q", s.Name, s.Value, is.Value)
		}
	}
	if after.Cache.Dir != before.Cache.Dir || after.Cache.Dir != m.path("big one") || slices.Contains(after.Served, "git.corp.example/team") {
		t.Errorf("was %+v\n is %+v", before, after)
	}
}

// TestRestartKeepsGo has a sidecar whose upstreams are those of GOPROXY in another shell: a
// public mirror in their place would hear of all that they have.
func TestRestartKeepsGo(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.run("GOPROXY='https://corp.example,off' GOSUMDB=off gomirror serve --background")
	before := m.status()
	m.copyProgram(m.path("bin", "gomirror"))
	m.cure("D04", doctor.Warn, "has changed since", "gomirror stop; GOSUMDB=off GOPROXY=https://corp.example,off gomirror serve")
	if after := m.status(); after.Upstream != before.Upstream || after.GOSUMDB != "off" {
		t.Errorf("was %+v\n is %+v", before, after)
	}
}

// TestKilledKeeps has a sidecar that can't be asked any more what it was started with.
func TestKilledKeeps(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.run("gomirror serve --background --private github.com/acme --cache-dir big")
	const flags = " --private github.com/acme"
	m.freeze()
	m.cure("D01", doctor.Fail, "does not answer on its control socket", "gomirror serve --background --cache-dir "+m.path("big")+flags)
	kill(t, m.pid(), syscall.SIGKILL)
	m.await(func() bool { return !m.holds() })
	m.cure("D01", doctor.Fail, "gomirror does not run", "gomirror serve --background --cache-dir "+m.path("big")+flags)
	if got := m.status(); !slices.Contains(got.Private, "github.com/acme") {
		t.Errorf("private is %q", got.Private)
	}
	m.run("gomirror stop")
	if got := m.diagnose("D01 fail")["D01"].Findings[0].Fix; got != "gomirror serve --background" {
		t.Errorf("of one that was stopped the fix is %s", got)
	}
}

// TestDaemonsOwnWay explains a module by what the sidecar goes by.
func TestDaemonsOwnWay(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	verdict := func(about string) string {
		out := m.tryRun("gomirror doctor --json " + about)
		var e doctor.Explanation
		if err := json.Unmarshal([]byte(out), &e); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		return string(e.Verdict) + " " + e.Fix
	}
	m.run("gomirror serve --background --cache-dir big")
	m.write(m.path("big", "quarantine", "a.json"), `{"module":"example.com/quote","version":"v1.5.2","reason":"checksum mismatch"}`, 0o600)
	if got := verdict("example.com/quote@v1.5.2"); got != "checksum_mismatch gomirror refresh example.com/quote@v1.5.2" {
		t.Errorf("of what was set aside: %s", got)
	}
	m.run("gomirror stop; gomirror serve --background --cache-dir big --offline")
	if got := verdict("example.com/quote@v1.5.1"); got != "offline gomirror stop; gomirror serve --background --cache-dir "+m.path("big") {
		t.Errorf("of one that runs offline: %s", got)
	}
	m.run("gomirror stop; gomirror serve --background")
	if got := verdict("--offline example.com/quote@v1.5.1"); got != "offline gomirror doctor example.com/quote@v1.5.1" {
		t.Errorf("of a doctor offline: %s", got)
	}
	m.run("gomirror config set offline true; gomirror stop; gomirror serve --background")
	if got := verdict("example.com/quote@v1.5.1"); got != "offline gomirror config set offline false; "+restartLine {
		t.Errorf("of the setting: %s", got)
	}
	m.run("gomirror config unset offline; gomirror stop; gomirror serve --background --offline --private github.com/acme")
	m.tryRun(`eval "$(gomirror env --fallback off)"; go mod download example.com/quote@v1.5.1 2>said`)
	for _, args := range []string{"--last", "- <said"} {
		if out := m.tryRun("gomirror doctor --json " + args); !strings.Contains(out, `"fix": "`+restartLine+` --private github.com/acme"`) &&
			!strings.Contains(out, `"fix": "gomirror config set offline false; `+restartLine+` --private github.com/acme"`) {
			t.Errorf("doctor %s: %s\n%s", args, out, m.tryRun("cat said"))
		}
	}
}
