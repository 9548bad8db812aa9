package doctor_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/doctor/doctortest"
)

// TestExplainChain has the first of two upstreams fail in each way: what "," and "|" pass
// on is what serve/upstream passes on.
func TestExplainChain(t *testing.T) {
	says := func(code int, kind string) func(*doctortest.Host) {
		return func(h *doctortest.Host) { h.Serve(answer(code, kind, "no. ")) }
	}
	const first, second = "https://mirror.example.com", "https://second.example.net"
	for _, c := range []struct {
		name, list string
		first      func(*doctortest.Host)
		builtin    bool
		want       doctor.Verdict
		fix        string
	}{
		{"500, stops", first + "," + second, says(500, "text/plain"), false, doctor.UpstreamError, "gomirror config set upstream 'https://mirror.example.com|https://second.example.net'"},
		{"500, passes", first + "|" + second, says(500, "text/plain"), false, doctor.Fine, ""},
		{"500, of the built-in list", first + "," + second, says(500, "text/plain"), true, doctor.Fine, ""},
		{"403, stops", first + "," + second, says(403, "text/plain"), false, doctor.UpstreamError, "gomirror config set upstream 'https://mirror.example.com|https"},
		{"403, of the built-in list", first + "," + second, says(403, "text/plain"), true, doctor.Fine, ""},
		{"451, of the built-in list", first + "," + second, says(451, "text/plain"), true, doctor.Fine, ""},
		{"400, of the built-in list", first + "," + second, says(400, "text/plain"), true, doctor.UpstreamError, "gomirror config set upstream 'https"},
		{"404", first + "," + second, says(404, "text/plain"), false, doctor.Fine, ""},
		{"410", first + "," + second, says(410, "text/plain"), false, doctor.Fine, ""},
		{"429, stops", first + "," + second, says(429, "text/plain"), false, doctor.RateLimited, "sleep"},
		{"401", first, says(401, "text/plain"), false, doctor.AuthMissing, "gomirror config set upstream https://USER:PASSWORD@mirror.example.com"},
		{"a page", first + "," + second, says(200, "text/html"), false, doctor.Fine, ""},
		{"down, stops", first + "," + second, func(h *doctortest.Host) { h.Port(doctortest.Closed) }, false, doctor.NetTCP, "gomirror config set upstream 'https"},
		{"down, passes", first + "|" + second, func(h *doctortest.Host) { h.Port(doctortest.Closed) }, false, doctor.Fine, ""},
		{"down, and then nobody has it", first + "|https://third.example.net", func(h *doctortest.Host) { h.Port(doctortest.Closed) }, false, doctor.NetTCP, "gomirror config set upstream 'https"},
		{"down alone", first, func(h *doctortest.Host) { h.Port(doctortest.Closed) }, false, doctor.NetTCP, "gomirror config set upstream 'https://mirror.example.com|direct'"},
		{"no list, and a zip elsewhere", first + "," + second, func(h *doctortest.Host) {
			h.Serve(func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, ".zip") {
					http.NotFound(rw, r)
					return
				}
				module("module example.com/m\n")(rw, r)
			})
		}, false, doctor.Fine, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Host("second.example.net").Serve(module("module example.com/m\n"))
			w.Host("third.example.net").Serve(answer(404, "text/plain", "none"))
			c.first(w.mirror)
			w.o.Upstream = c.list
			if c.builtin {
				w.o.Upstream, w.own.GOPROXY, w.builtin.GOPROXY = "", c.list, c.list
			}
			got := w.explain("example.com/m@v1.0.0")
			if got.Verdict != c.want || !strings.HasPrefix(got.Fix, c.fix) || (got.Fix == "") != (c.fix == "") {
				t.Errorf("got %s, fix %q: %s", got.Verdict, got.Fix, got.Text)
			}
			if strings.Contains(got.Text, ". about") || strings.Count(got.Text, "mirror.example.com") > 1 {
				t.Errorf("it says %s", got.Text)
			}
		})
	}
}

// TestExplainDirect goes on to the origin where the list does.
func TestExplainDirect(t *testing.T) {
	for _, c := range []struct {
		name, list string
		want       bool // GitHub is asked
	}{
		{"down|direct", "https://mirror.example.com|direct", true},
		{"down,direct", "https://mirror.example.com,direct", false},
		{"down|off", "https://mirror.example.com|off", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.mirror.Port(doctortest.Closed)
			w.o.Upstream, w.o.Private, w.daemon.Status.Tokens = c.list, nil, nil
			got := w.explain("github.com/other/m@v1.0.0")
			if asked := fmt.Sprint(w.github.Requests()); strings.Contains(asked, "/other/m.git/info/refs") != c.want {
				t.Errorf("GitHub was asked %s, and the verdict is %s: %s", asked, got.Verdict, got.Text)
			}
		})
	}
}

// TestExplainForgotten has paths that lack their major version.
func TestExplainForgotten(t *testing.T) {
	for _, c := range []struct{ asked, is string }{
		{"example.com/m@v2.0.1", "example.com/m/v2@v2.0.1"},
		{"gopkg.in/yaml@v3.0.1", "gopkg.in/yaml.v3@v3.0.1"},
		{"gopkg.in/yaml@v1.0.0", "gopkg.in/yaml.v1@v1.0.0"},
	} {
		w := newWorld(t)
		is, version, _ := strings.Cut(c.is, "@")
		w.mirror.Serve(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/"+is+"/@v/list" {
				http.NotFound(rw, r)
				return
			}
			answer(200, "text/plain", version+"\n")(rw, r)
		})
		if got := w.explain(c.asked); got.Verdict != doctor.MajorSuffix || got.Fix != "go get "+c.is {
			t.Errorf("%s: got %s, fix %q: %s", c.asked, got.Verdict, got.Fix, got.Text)
		}
	}
}
