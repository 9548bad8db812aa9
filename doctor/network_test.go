package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/doctor/doctortest"
)

// world is a healthy machine in a healthy network: one mirror, the checksum database,
// GitHub, and a token for it.
type world struct {
	*doctortest.Lab
	t                                   *testing.T
	mirror, sums, github, api, codeload *doctortest.Host
	o                                   doctor.Options
	env                                 map[string]string
	daemon                              doctor.Daemon
	own, now, builtin                   doctor.GoEnv // without gomirror env, as it is, Go's defaults
	resolver                            *doctortest.Resolver
	proxy                               *doctortest.Proxy
	gitProxy                            string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	lab := doctortest.New(t)
	w := &world{
		Lab: lab, t: t, resolver: lab.First(), env: map[string]string{},
		mirror: lab.Host("mirror.example.com"), sums: lab.Host("sum.golang.org"),
		github: lab.Host("github.com"), api: lab.Host("api.github.com"), codeload: lab.Host("codeload.github.com"),
		own:    doctor.GoEnv{GOPROXY: "https://mirror.example.com,direct", GOSUMDB: "sum.golang.org"},
		daemon: doctor.Daemon{Status: doctor.DaemonStatus{Tokens: []string{"github.com/acme"}}},
	}
	w.o = doctor.Options{
		Getenv: func(name string) string { return w.env[name] },
		Now:    time.Now, GOOS: "linux",
		Upstream: "https://mirror.example.com,direct",
		Private:  []string{"github.com/acme"},
		Go:       func() doctor.Go { return doctor.Go{Own: w.own, Now: w.now, Builtin: w.builtin} },
		Daemon:   func() doctor.Daemon { return w.daemon },
		Dial:     lab.Dial, Lookup: lab.Lookup, Roots: lab.Roots(), HostsFile: lab.HostsFile,
	}
	return w
}

// look runs one check and returns what it has to say.
func (w *world) look(id string) []doctor.Finding {
	w.t.Helper()
	w.o.Resolvers = w.Resolvers()
	var only []doctor.Check
	for _, c := range doctor.Checks(w.o) {
		if c.ID == id {
			only = append(only, c)
		}
	}
	start := time.Now()
	results := doctor.Run(w.t.Context(), only, func(doctor.Result) {})
	if took := time.Since(start); took > 5500*time.Millisecond {
		w.t.Errorf("%s took %v", id, took)
	}
	if len(results) != 1 {
		w.t.Fatalf("there are %d checks %s", len(results), id)
	}
	return results[0].Findings
}

// bad returns the findings that are not OK.
func bad(findings []doctor.Finding) (out []doctor.Finding) {
	for _, f := range findings {
		if f.Status == doctor.Fail || f.Status == doctor.Warn {
			out = append(out, f)
		}
	}
	return out
}

func show(findings []doctor.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "\n%s: %s\n\tfix: %s", f.Status, f.Text, f.Fix)
		for _, d := range f.Detail {
			fmt.Fprintf(&b, "\n\t%s", d)
		}
	}
	return b.String()
}

// cure does what a fix line says, as far as it is about this world.
func (w *world) cure(fix string) {
	w.t.Helper()
	for command := range strings.SplitSeq(fix, "; ") {
		command = strings.TrimPrefix(command, "sudo ")
		words := strings.Fields(command)
		value := strings.Trim(words[len(words)-1], "'")
		if _, text, ok := strings.Cut(command, " '"); ok {
			value = strings.Trim(text, "'")
		}
		switch {
		case strings.HasPrefix(command, "gomirror config set upstream "):
			w.o.Upstream, w.daemon.Status.Upstream = value, ""
		case strings.HasPrefix(command, "gomirror config set offline true"):
			w.o.Offline = true
		case strings.HasPrefix(command, "gomirror config set network.ca_file "):
			w.o.CAFile = value
		case strings.HasPrefix(command, "gomirror config set network.hosts "):
			w.o.Hosts = strings.Split(value, ",")
		case words[0] == "unset":
			delete(w.env, value)
		case words[0] == "export":
			name, value, _ := strings.Cut(strings.TrimPrefix(command, "export "), "=")
			value = strings.Trim(value, "\"")
			if strings.HasPrefix(value, "$(git config") {
				value = w.gitProxy
			}
			w.env[name] = value
		case strings.HasPrefix(command, "go env -w GOSUMDB="):
			w.own.GOSUMDB = strings.TrimPrefix(command, "go env -w GOSUMDB=")
		case words[0] == "sed":
			if out, err := exec.CommandContext(w.t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
				w.t.Fatalf("%s: %v\n%s", command, err, out)
			}
		default:
			w.t.Fatalf("nobody knows how to run %q", command)
		}
	}
}

func answer(code int, kind, text string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", kind)
		rw.WriteHeader(code)
		io.WriteString(rw, text)
	}
}

func TestHealthy(t *testing.T) {
	tests := []struct {
		name string
		set  func(*world)
	}{
		{"all", func(*world) {}},
		{"IPv4 only", func(w *world) {
			for _, h := range []*doctortest.Host{w.mirror, w.sums, w.github, w.api, w.codeload} {
				h.PortOf(doctortest.Open, doctortest.NoRoute)
			}
		}},
		{"IPv6 only", func(w *world) {
			for _, h := range []*doctortest.Host{w.mirror, w.sums, w.github, w.api, w.codeload} {
				h.PortOf(doctortest.NoRoute, doctortest.Open)
			}
		}},
		{"no IPv6 addresses", func(w *world) { w.github.Only(4); w.mirror.Only(4) }},
		{"only IPv6 addresses", func(w *world) { w.github.Only(6); w.mirror.Only(6) }},
		{"GOSUMDB=off", func(w *world) { w.own.GOSUMDB = "off"; w.sums.Port(doctortest.Closed) }},
		{"database out of reach, relayed", func(w *world) { w.sums.Port(doctortest.Swallows) }},
		{"GitHub out of reach, not needed", func(w *world) {
			w.github.Port(doctortest.Swallows)
			w.api.Port(doctortest.Closed)
			w.codeload.TLS(doctortest.WrongName, nil)
			w.o.Private, w.daemon.Status.Tokens = nil, nil
		}},
		{"corporate CA in network.ca_file", func(w *world) {
			ca := doctortest.NewAuthority(w.t, "Zscaler Root CA")
			w.o.CAFile = filepath.Join(w.t.TempDir(), "ca.pem")
			ca.WritePEM(w.o.CAFile)
			w.mirror.TLS(doctortest.UnknownIssuer, ca)
			w.github.TLS(doctortest.UnknownIssuer, ca)
		}},
		{"private pattern of a host that nobody sees", func(w *world) { w.o.Private = []string{"git.corp.example.com/team"} }},
		{"pattern for all", func(w *world) { w.own.GOPRIVATE = "*.example.net,*" }},
		{"zips on another host", func(w *world) {
			w.Host("cdn.example.net")
			w.mirror.Serve(func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, ".zip") {
					http.Redirect(rw, r, "https://cdn.example.net/file", http.StatusFound)
				}
			})
		}},
		{"second upstream that lacks the module", func(w *world) {
			w.Host("corp.example.com").Serve(answer(200, "text/plain", "module m\n"))
			w.o.Upstream = "https://corp.example.com,https://mirror.example.com,direct"
		}},
		{"HTTP proxy in between, no DNS", func(w *world) {
			w.env["HTTPS_PROXY"] = w.Proxy().URL
			w.resolver.Say("", doctortest.Silent)
			w.mirror.Port(doctortest.Swallows)
		}},
		{"dead second resolver", func(w *world) { w.Lab.Resolver().Say("", doctortest.Silent) }},
		{"http upstream", func(w *world) { w.o.Upstream = "http://mirror.example.com" }},
		{"direct alone", func(w *world) { w.o.Upstream = "direct" }},
		{"fake addresses of a local proxy", func(w *world) { w.resolver.Lie("github.com", w.github.IPv4.String()) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.set(w)
			for _, id := range []string{"N01", "S04"} {
				if found := w.look(id); len(bad(found)) > 0 || len(found) == 0 {
					t.Errorf("%s is not content:%s", id, show(found))
				}
			}
		})
	}
}

func TestOffline(t *testing.T) {
	w := newWorld(t)
	w.o.Offline = true
	for _, id := range []string{"N01", "S04"} {
		if found := w.look(id); len(found) != 1 || found[0].Status != doctor.Skipped {
			t.Errorf("%s says%s", id, show(found))
		}
	}
	if asked := slices.Concat(w.mirror.Requests(), w.api.Requests()); len(asked) > 0 {
		t.Errorf("hosts were asked %v", asked)
	}
}

// A password goes to its own host and is in no finding.
func TestPassword(t *testing.T) {
	w := newWorld(t)
	w.o.Upstream = "https://user:s3cret@mirror.example.com,direct"
	w.daemon.Status.Upstream = "https://mirror.example.com,direct"
	found := w.look("N01")
	if len(bad(found)) > 0 || strings.Contains(show(found), "s3cret") {
		t.Errorf("says%s", show(found))
	}
	if asked := w.mirror.Requests(); len(asked) == 0 || !strings.HasSuffix(asked[0], " user:s3cret") {
		t.Errorf("the mirror was asked %v, want with the password", asked)
	}
	for _, h := range []*doctortest.Host{w.sums, w.github, w.api} {
		if strings.Contains(fmt.Sprint(h.Requests()), "s3cret") {
			t.Errorf("%s was asked %v", h.Name, h.Requests())
		}
	}
}

// Nor is it in a command, which is pasted as often as run.
func TestPasswordInFix(t *testing.T) {
	w := newWorld(t)
	dead := w.Host("dead.example.net")
	dead.Port(doctortest.Closed)
	w.o.Upstream = "https://user:s3cret@mirror.example.com,https://dead.example.net,direct"
	found := show(w.look("N01"))
	if strings.Contains(found, "s3cret") || !strings.Contains(found, "gomirror config set upstream https://USER:PASSWORD@mirror.example.com,direct") {
		t.Errorf("says%s", found)
	}
}

func TestClock(t *testing.T) {
	for _, tt := range []struct {
		name string
		off  time.Duration
		want doctor.Status
		text string
	}{
		{"right", 0, doctor.OK, "agrees"},
		{"little", 30 * time.Second, doctor.OK, "agrees"},
		{"ahead", 5 * time.Minute, doctor.Warn, "is 5 minutes ahead of that of"},
		{"behind", -5 * time.Hour, doctor.Fail, "is 5 hours behind that of"},
		{"days", 48*time.Hour + time.Minute, doctor.Fail, "is 2 days ahead of"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.o.Now = func() time.Time { return time.Now().Add(tt.off) }
			found := w.look("S04")
			if len(found) != 1 || found[0].Status != tt.want || !strings.Contains(found[0].Text, tt.text) {
				t.Errorf("says%s\nwant %s with %q", show(found), tt.want, tt.text)
			}
			if tt.want != doctor.OK && found[0].Fix != "sudo timedatectl set-ntp true" {
				t.Errorf("fix is %q", found[0].Fix)
			}
		})
	}
	t.Run("one host is wrong", func(t *testing.T) {
		w := newWorld(t)
		w.api.Ahead(time.Hour)
		if found := w.look("S04"); len(bad(found)) > 0 {
			t.Errorf("says%s", show(found))
		}
	})
	t.Run("nobody tells", func(t *testing.T) {
		w := newWorld(t)
		w.resolver.Say("", doctortest.NXDomain)
		if found := w.look("S04"); len(found) != 1 || found[0].Status != doctor.Skipped {
			t.Errorf("says%s", show(found))
		}
	})
}

// git is an Exec with the one answer of git config.
func git(proxy string) func(context.Context, string, []string, string, ...string) ([]byte, error) {
	return func(_ context.Context, _ string, _ []string, name string, args ...string) ([]byte, error) {
		if name == "git" && slices.Contains(args, "http.proxy") {
			return []byte(proxy + "\n"), nil
		}
		return nil, errors.New("exit status 1")
	}
}
