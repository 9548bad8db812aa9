package doctor_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/doctor/doctortest"
)

// explain retells a pull in the world.
func (w *world) explain(text string) doctor.Explanation {
	w.t.Helper()
	target, err := doctor.ParseTarget(text)
	if err != nil {
		w.t.Fatal(err)
	}
	w.o.CacheDir, w.o.Resolvers = w.t.TempDir(), w.Resolvers()
	if w.o.Plan == nil {
		w.o.Plan = func() doctor.Plan { return doctor.Plan{} }
	}
	return doctor.Explain(w.t.Context(), w.o, target, func(doctor.Step) {})
}

// errNoTOML is of a config.toml.
var errNoTOML = errors.New("no TOML")

// module has every host of the network that is a mirror hold example.com/m@v1.0.0.
func module(goMod string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		file, ok := strings.CutPrefix(r.URL.Path, "/example.com/m/@v/")
		text := map[string]string{"list": "v1.0.0\n", "v1.0.0.info": `{"Version":"v1.0.0"}`, "v1.0.0.mod": goMod, "v1.0.0.zip": "zip"}[file]
		if !ok || text == "" {
			http.Error(rw, "not found", http.StatusNotFound)
			return
		}
		answer(200, "text/plain", text)(rw, r)
	}
}

// TestExplainTLS has TLS of each wrong kind, by each way: it is told as what it is, the
// issuer is named, and whoever stands there hears no name of a module.
func TestExplainTLS(t *testing.T) {
	const secret = "git.corp.example/team/secret"
	kinds := []struct {
		name string
		set  func(*doctortest.Host)
		text string
	}{
		{"expired", func(h *doctortest.Host) { h.TLS(doctortest.Expired, nil) }, "ended on"},
		{"not yet", func(h *doctortest.Host) { h.TLS(doctortest.NotYet, nil) }, "holds only from"},
		{"unknown issuer", func(h *doctortest.Host) { h.TLS(doctortest.UnknownIssuer, nil) }, "that Nobody Knows Me CA signed"},
		{"opened", func(h *doctortest.Host) {
			h.TLS(doctortest.UnknownIssuer, doctortest.NewAuthority(t, "Zscaler Root CA"))
		}, "Zscaler Root CA opens the TLS"},
		{"another name", func(h *doctortest.Host) { h.TLS(doctortest.WrongName, nil) }, "shows a certificate for other.example.net"},
		{"old version", func(h *doctortest.Host) { h.TLS(doctortest.OldVersion, nil) }, "nothing better than TLS 1.0"},
	}
	for _, kind := range kinds {
		for _, way := range []string{"", "HTTPS_PROXY"} {
			for _, path := range []string{"example.com/m", secret} {
				t.Run(strings.Join([]string{kind.name, way, path}, " "), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					w.o.Private = []string{"git.corp.example"}
					host := w.mirror
					if path == secret {
						host = w.Host("git.corp.example")
					}
					kind.set(host)
					if way != "" {
						w.env[way] = w.Proxy().URL
					}
					got := w.explain(path + "@v1.0.0")
					if got.Verdict != doctor.NetTLS || !strings.Contains(got.Text, kind.text) || got.Fix == "" {
						t.Errorf("got %s, fix %q: %s", got.Verdict, got.Fix, got.Text)
					}
					for _, asked := range host.Requests() {
						if asked != "HEAD /" {
							t.Errorf("it was asked %s", asked)
						}
					}
				})
			}
		}
	}
}

// TestLegsOfTLS has a check that asks an untrusted host the time: what comes of that is
// no leg of the first question.
func TestLegsOfTLS(t *testing.T) {
	w := newWorld(t)
	w.mirror.TLS(doctortest.Expired, nil)
	for _, f := range bad(w.look("N01")) {
		if slices.ContainsFunc(f.Legs, func(l doctor.Leg) bool { return l.Name == "first byte" }) {
			t.Errorf("%s has the legs %v", f.Text, f.Legs)
		}
	}
	if asked := fmt.Sprint(w.mirror.Requests()); strings.Contains(asked, "golang.org") {
		t.Errorf("it was asked %s", asked)
	}
}

// TestExplainVerdicts brings about by real sockets what Explain can tell.
func TestExplainVerdicts(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*world)
		want doctor.Verdict
		text string
	}{
		{"all is well", func(*world) {}, doctor.Fine, ""},
		{"NXDOMAIN", func(w *world) { w.resolver.Say(w.mirror.Name, doctortest.NXDomain) }, doctor.NetDNS, "there is no host mirror.example.com"},
		{"SERVFAIL", func(w *world) { w.resolver.Say(w.mirror.Name, doctortest.ServFail) }, doctor.NetDNS, "SERVFAIL"},
		{"refused", func(w *world) { w.mirror.Port(doctortest.Closed) }, doctor.NetTCP, "refuses connections"},
		{"swallowed", func(w *world) { w.mirror.Port(doctortest.Swallows) }, doctor.NetTCP, "swallows"},
		{"silent", func(w *world) {
			w.mirror.Serve(hang)
		}, doctor.NetTCP, "does not answer"},
		{"an HTTP proxy that is dead", func(w *world) { w.env["HTTPS_PROXY"] = "http://" + w.Closed() }, doctor.NetProxy, "refuses connections"},
		{"an HTTP proxy that wants a login", func(w *world) {
			p := w.Proxy()
			p.Refuse(407, "Basic realm=x")
			w.env["HTTPS_PROXY"] = p.URL
		}, doctor.NetProxy, "407"},
		{"no TLS", func(w *world) { w.mirror.TLS(doctortest.NoTLS, nil) }, doctor.NetTLS, "without TLS"},
		{"a page", func(w *world) { w.mirror.Serve(answer(200, "text/html", "<h1>Log in")) }, doctor.UpstreamError, "web page"},
		{"429", func(w *world) { w.mirror.Serve(answer(429, "text/plain", "slowly")) }, doctor.RateLimited, "429"},
		{"a zip too large", func(w *world) {
			w.mirror.Serve(func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, ".zip") {
					rw.Header().Set("Content-Length", "600000000")
					return
				}
				module("module example.com/m\n")(rw, r)
			})
		}, doctor.TooLarge, "572 MB"},
		{"a newer go", func(w *world) {
			w.mirror.Serve(module("module example.com/m\n\ngo 1.99\n"))
			w.now.GOVERSION, w.now.GOTOOLCHAIN = "go1.26.8", "local"
		}, doctor.GoTooOld, "needs go 1.99"},
		{"retracted", func(w *world) { w.mirror.Serve(module("module example.com/m\n\nretract v1.0.0 // broken\n")) }, doctor.Retracted, "broken"},
		{"capitals", func(w *world) { w.mirror.Serve(module("module example.com/M\n")) }, doctor.CaseMismatch, "example.com/M"},
		{"go without modules", func(w *world) { w.now.GO111MODULE = "off" }, doctor.GoSettings, "GO111MODULE=off"},
		{"go without downloads", func(w *world) { w.now.GOPROXY = "off" }, doctor.GoSettings, "GOPROXY=off"},
		{"gomirror is down", func(w *world) {
			w.now.GOPROXY = "http://127.0.0.1:1/t/0123456789abcdef0123456789abcdef"
		}, doctor.NotRunning, "does not run"},
		{"offline", func(w *world) { w.o.Offline = true }, doctor.OfflineMode, "offline"},
		{"settings that can't be read", func(w *world) { w.o.SettingsErr = errNoTOML }, doctor.GoSettings, "no TOML"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.mirror.Serve(module("module example.com/m\n"))
			c.set(w)
			got := w.explain("example.com/m@v1.0.0")
			if got.Verdict != c.want || !strings.Contains(got.Text, c.text) || (got.Fix == "") != (c.want == doctor.Fine) {
				t.Errorf("got %s, fix %q: %s\n%v", got.Verdict, got.Fix, got.Text, got.Steps)
			}
		})
	}
}
