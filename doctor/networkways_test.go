package doctor_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/doctor/doctortest"
)

// runs has a sidecar run that says this of itself.
func (w *world) runs(status string) {
	w.t.Helper()
	w.daemon.Running = true
	if err := json.Unmarshal([]byte(status), &w.daemon.Status); err != nil {
		w.t.Fatal(err)
	}
}

// TestDaemonsNetwork visits hosts by what the sidecar goes by.
func TestDaemonsNetwork(t *testing.T) {
	t.Run("its HTTP proxy, whose password this shell has", func(t *testing.T) {
		w := newWorld(t)
		p := w.Proxy()
		at := strings.TrimPrefix(p.URL, "http://")
		w.env["HTTPS_PROXY"] = "http://me:s3cret@" + at
		w.runs(`{"network": {"https_proxy": "http://REDACTED@` + at + `"}}`)
		if found := w.look("N01"); len(bad(found)) > 0 || len(p.Requests()) == 0 || strings.Contains(show(found), "s3cret") {
			t.Errorf("says%s", show(found))
		}
	})
	t.Run("its HTTP proxy, whose password nobody tells", func(t *testing.T) {
		w := newWorld(t)
		w.runs(`{"network": {"https_proxy": "http://REDACTED@` + w.Closed() + `"}, "settings": [{"name": "prefetch", "value": "full", "from": "default"}]}`)
		if found := w.look("N01"); len(bad(found)) > 0 {
			t.Errorf("says%s", show(found))
		}
		if found := w.look("D07"); len(bad(found)) > 0 || !strings.Contains(show(found), "HTTPS_PROXY") {
			t.Errorf("says%s", show(found))
		}
	})
	t.Run("its HTTP proxy lets through what this shell's does not", func(t *testing.T) {
		w := newWorld(t)
		w.runs(`{"network": {"https_proxy": "` + w.Proxy().URL + `"}}`)
		w.env["HTTPS_PROXY"] = "http://" + w.Closed()
		w.mirror.Port(doctortest.Swallows)
		if found := w.look("N01"); len(bad(found)) > 0 {
			t.Errorf("says%s", show(found))
		}
	})
	t.Run("an upstream that is down for it", func(t *testing.T) {
		w := newWorld(t)
		w.runs(`{"network": {}, "upstreams": [{"name": "https://mirror.example.com", "state": "down", "last_error": "EOF"}]}`)
		found := bad(w.look("N01"))
		if len(found) != 1 || found[0].Status != doctor.Warn || !strings.Contains(found[0].Text, "gomirror itself has had no answer from there since") || found[0].Fix != restartLineOf {
			t.Errorf("says%s", show(found))
		}
	})
	t.Run("a pull", func(t *testing.T) {
		w := newWorld(t)
		w.mirror.Serve(module("module example.com/m\n"))
		w.runs(`{"network": {"https_proxy": "http://` + w.Closed() + `"}}`)
		got := w.explain("example.com/m@v1.0.0")
		if got.Verdict != doctor.NetProxy || got.Fix != restartLineOf || !strings.Contains(got.Text, "of the gomirror that runs") {
			t.Errorf("got %s, fix %q: %s", got.Verdict, got.Fix, got.Text)
		}
	})
}

const restartLineOf = "gomirror stop; gomirror serve --background"
