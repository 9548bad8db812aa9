//go:build unix

package doctor_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomirror/gomirror/doctor/doctortest"
	"github.com/gomirror/gomirror/serve/githosttest"
)

// whole is a machine in a network of its own: two mirrors, GitHub, and a user with a
// token for acme, whose modules are private. All is well until a test says otherwise.
type whole struct {
	*machine
	lab                                         *doctortest.Lab
	mirror, second, sums, github, api, codeload *doctortest.Host
	hub, shared                                 *githosttest.Host // shared is the hub of several machines

	first   map[string]string // the variables of the shell before gomirror env
	well    map[string]string // those after it
	config  string            // what config.toml holds while all is well
	state0  string            // what settled says then
	blanks  []string          // what the user fills in for a word of a fix, in pairs
	dir     string            // where the doctor is asked; "" is home
	verdict int               // exit code of the last doctor
	longest time.Duration     // of a doctor
	itself  time.Duration     // the last doctor, as it says: without the start of a program
}

// newWhole makes one. change may alter it before gomirror is started; nil gives the user
// a token.
func newWhole(t *testing.T, change func(*whole)) *whole {
	t.Helper()
	m, lab := newMachine(t), doctortest.New(t)
	w := &whole{machine: m, lab: lab, mirror: lab.Host("mirror.example.com"), second: lab.Host("second.example.net"),
		sums: lab.Host("sum.golang.org"), github: lab.Host("github.com"), api: lab.Host("api.github.com"), codeload: lab.Host("codeload.github.com")}
	roots := m.path("roots.pem")
	lab.Authority.WritePEM(roots)
	maps.Copy(m.vars, map[string]string{
		inLabOf: openWire(t, lab), "SSL_CERT_FILE": roots, "SSL_CERT_DIR": m.path("none"), "SHELL": "/bin/sh",
		"GOPROXY": "https://mirror.example.com,https://second.example.net,direct",
	})
	delete(m.vars, "GOSUMDB")
	// Nothing of what a fix does with the rights of root leaves the home folder.
	m.write(m.path("bin", "sudo"), "#!/bin/sh\ncase \"$*\" in */etc/*) exit 1;; esac\nexec \"$@\"\n", 0o700)
	m.write(m.path("bin", "timedatectl"), "#!/bin/sh\nrm \"$HOME/clock\"\n", 0o700)
	w.serveModules()
	if change == nil {
		change = func(w *whole) { w.useToken() }
	}
	change(w)
	w.config = m.tryRun("cat " + m.path("config", "gomirror", "config.toml"))
	w.settle()
	return w
}

// serveModules has the mirrors hold the module that every mirror has and those of the
// machine's upstream, and relay the go command's database.
func (w *whole) serveModules() {
	for _, h := range []*doctortest.Host{w.mirror, w.second} {
		h.Serve(func(rw http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/golang.org/x/text/@v/v0.3.0.mod"):
				answer(200, "text/plain", "module golang.org/x/text\n")(rw, r)
			case strings.HasPrefix(r.URL.Path, "/golang.org/x/text/"):
				answer(200, "application/zip", "")(rw, r)
			case strings.HasPrefix(r.URL.Path, "/sumdb/sum.golang."):
			default:
				w.upstream.ServeHTTP(rw, r)
			}
		})
	}
	for _, h := range []*doctortest.Host{w.github, w.api, w.codeload} {
		if h.Serve(nil); w.hub != nil && h != w.codeload {
			h.Serve(w.toHub)
		}
	}
}

// useToken has a token for acme stored, and acme be private.
func (w *whole) useToken() {
	w.t.Helper()
	if w.hub = w.shared; w.hub == nil {
		w.hub = newHub(w.t)
	}
	w.serveModules()
	w.run(storing + "=acme gomirror --insecure-storage; gomirror config set private github.com/acme")
}

// newHub is a GitHub with a repository of acme, which ann's token sees.
func newHub(t *testing.T) *githosttest.Host {
	hub := githosttest.New(t)
	hub.Repo(t, "github.com/acme/x", map[string]string{"go.mod": "module github.com/acme/x\n"}, "v1.0.0")
	hub.Private("github.com/acme")
	hub.Account(canary, sound())
	return hub
}

// sound is the account of a token with which all is well.
func sound() githosttest.Account {
	return githosttest.Account{Login: "ann", Scopes: []string{"repo"}, Sees: []string{"github.com/acme"}}
}

// toHub has the hosts of GitHub answer as GitHub does.
func (w *whole) toHub(rw http.ResponseWriter, r *http.Request) {
	roots := x509.NewCertPool()
	if pem, err := os.ReadFile(w.hub.CAFile); err == nil {
		roots.AppendCertsFromPEM(pem)
	}
	transport := &http.Transport{DialContext: w.hub.Dial, TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	proxy := httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(pr *httputil.ProxyRequest) { pr.SetURL(&url.URL{Scheme: "https", Host: pr.In.Host}) },
		ModifyResponse: func(resp *http.Response) error {
			resp.Header.Del("Date") // the lab tells the time
			return nil
		},
	}
	proxy.ServeHTTP(rw, r)
}

// fix runs a fix line in the user's shell, which keeps what it exports.
func (w *whole) fix(command string) {
	w.t.Helper()
	after := w.path("after")
	w.machine.fix(command + "\nstatus=$?; env -0 > " + after + "; exit $status")
	text, err := os.ReadFile(after)
	if err != nil {
		w.t.Fatal(err)
	}
	vars := map[string]string{}
	for kv := range strings.SplitSeq(strings.TrimSuffix(string(text), "\x00"), "\x00") {
		name, value, _ := strings.Cut(kv, "=")
		if !slices.Contains([]string{"PWD", "OLDPWD", "SHLVL", "_"}, name) {
			vars[name] = value
		}
	}
	w.machine.vars = vars
}

// reset undoes a fault and what its fix has done.
func (w *whole) reset() {
	w.t.Helper()
	w.lab.Mend()
	w.serveModules()
	if w.hub != nil {
		w.hub.Account(canary, sound())
		w.hub.Intercept(nil)
	}
	file := w.path("config", "gomirror", "config.toml")
	w.tryRun("kill -CONT $(cat state/gomirror/pid)") // who hangs can't be stopped
	asFirst := maps.Equal(w.vars, w.well) && w.settled() == w.state0
	w.machine.vars, w.blanks = maps.Clone(w.well), nil
	w.run(`rm -rf clock full goenv .gitconfig bin/code cache/gomirror/download
chmod 700 cache cache/gomirror; chmod 600 state/gomirror/capability state/gomirror/credentials.json`)
	if asFirst && w.holds() {
		return
	}
	w.machine.vars = maps.Clone(w.first)
	w.tryRun("gomirror stop")
	os.Remove(file)
	if w.config != "" {
		w.write(file, w.config, 0o600)
	}
	w.settle()
}

// settle starts gomirror and has the shell use it.
func (w *whole) settle() {
	w.t.Helper()
	w.first = maps.Clone(w.vars)
	w.run("gomirror serve --background")
	w.fix(`eval "$(gomirror env)"`)
	w.well, w.state0 = maps.Clone(w.vars), w.settled()
}

// settled is what tells whether gomirror is still the one that the shell uses.
func (w *whole) settled() string {
	return w.tryRun("cat config/gomirror/config.toml; cd state/gomirror && cat pid address capability")
}

// ask asks the doctor for all that it has.
func (w *whole) ask() map[string]report {
	w.t.Helper()
	c := w.command("gomirror doctor --json")
	if w.dir != "" {
		c.Dir = w.dir
	}
	var said bytes.Buffer
	c.Stderr = &said
	start := time.Now()
	out, _ := c.Output() // what the exit code tells the reports tell too
	took := time.Since(start)
	w.longest, w.verdict = max(w.longest, took), c.ProcessState.ExitCode()
	var doc struct {
		Checks  []report
		Summary struct{ Seconds float64 }
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		w.t.Fatalf("the doctor printed %q, %s: %v", out, said.String(), err)
	}
	w.itself = time.Duration(doc.Summary.Seconds * float64(time.Second))
	if strings.Contains(string(out), "CANARY") {
		w.t.Errorf("the token is told: %s", out)
	}
	reports := map[string]report{}
	for _, r := range doc.Checks {
		reports[r.ID] = r
	}
	return reports
}

// TestWhole has one doctor look at all: one fault at a time, two, none, and a network that
// is dead. The groups have machines of their own and mostly wait, so some run at once
// whatever -parallel is.
func TestWhole(t *testing.T) {
	t.Parallel()
	suffering := func(faults []fault) func(*testing.T) { return func(t *testing.T) { sufferAll(t, faults) } }
	var all sync.WaitGroup
	slots := make(chan struct{}, 3) // more would have the go command miss its own limits
	for _, group := range []struct {
		name string
		run  func(*testing.T)
	}{ // the longest first
		{"healthy", testHealthy}, {"names", suffering(nameFaults())}, {"connections", suffering(connectionFaults())},
		{"machine", suffering(machineFaults())}, {"answers", suffering(answerFaults())}, {"dead", testDead},
		{"go", suffering(goFaults())}, {"TLS", suffering(tlsFaults())}, {"proxies", suffering(proxyFaults())},
		{"pairs", testPairs}, {"tokens", suffering(authFaults())}, {"other shell", suffering(shellFaults())},
	} {
		slots <- struct{}{}
		all.Go(func() { // ends with the tests of the group
			t.Run(group.name, group.run)
			<-slots
		})
	}
	all.Wait()
}

// sufferAll has a machine suffer one fault after the other.
func sufferAll(t *testing.T, faults []fault) {
	w := newWhole(t, func(w *whole) {
		w.useToken()
		if t.Name() == "TestWhole/machine" { // one that can pull
			w.vars["GOSUMDB"] = w.upstream.SumDBKey()
			name, _, _ := strings.Cut(w.upstream.SumDBKey(), "+")
			w.lab.Host(name)
		}
	})
	if got, _ := w.alarms(nil, nil); len(got) > 0 {
		t.Fatalf("while all is well: %v", got)
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			w.machine.t = t
			w.suffer(f)
		})
		w.machine.t = t
		w.reset()
	}
	if got, _ := w.alarms(nil, nil); len(got) > 0 {
		t.Errorf("when all is mended: %v", got)
	}
	t.Logf("the longest doctor took %v", w.longest)
}
