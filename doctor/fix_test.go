package doctor_test

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/doctor/doctortest"
)

// TestFixesFit has faults for which the usual cure is none.
func TestFixesFit(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*world)
		host string
		want string
	}{
		{"upstream on this machine, refused", func(w *world) {
			w.github.Port(doctortest.Closed)
			w.o.Upstream = "http://" + w.Closed() + ",https://mirror.example.com"
			w.mirror.Port(doctortest.Closed)
		}, "127.0.0.1", "gomirror config set upstream https://mirror.example.com"},
		{"expired behind an HTTP proxy", func(w *world) {
			w.env["HTTPS_PROXY"] = w.Proxy().URL
			w.github.TLS(doctortest.Expired, nil)
		}, "github.com", "sleep 60; gomirror doctor --only N01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.set(w)
			for _, f := range bad(w.look("N01")) {
				if strings.Contains(f.Text, c.host) && f.Fix != c.want {
					t.Errorf("%s\nfix: %s", f.Text, f.Fix)
				}
			}
		})
	}
}

// readable reports whether a shell can read a fix, and nothing in it is for people alone.
func readable(fix string) bool {
	return exec.Command("sh", "-n", "-c", fix).Run() == nil && !strings.Contains(fix, "…") && !strings.Contains(fix, " and then")
}

// TestComplaintAndLook joins what go says of checksums with a look that finds nothing.
func TestComplaintAndLook(t *testing.T) {
	fine := doctor.Explanation{Module: "example.com/m", Version: "v1.0.0", Verdict: doctor.Fine}
	for _, c := range []struct{ text, want string }{
		{"verifying example.com/m@v1.0.0: checksum mismatch\n\tdownloaded: h1:a=\n\tgo.sum:     h1:b=\n\nSECURITY ERROR\n", `grep -vF "example.com/m v1.0.0 h1:" go.sum`},
		{"verifying example.com/m@v1.0.0: checksum mismatch\n\tdownloaded: h1:a=\n\tsum.example: h1:b=\n", "go mod download example.com/m@v1.0.0"},
	} {
		all, err := doctor.ReadGoOutput(strings.NewReader(c.text))
		if err != nil || len(all) != 1 {
			t.Fatalf("got %v, %v", all, err)
		}
		got := doctor.ExplainComplaint(all[0], fine)
		if got.Verdict != doctor.ChecksumMismatch || !strings.HasPrefix(got.Fix, c.want) || !readable(got.Fix) {
			t.Errorf("got %s, fix %q", got.Verdict, got.Fix)
		}
	}
}

func noRelay(rw http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/sumdb/") {
		http.Error(rw, "no", http.StatusNotFound)
	}
}

func redirect(to string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, to, http.StatusFound) }
}
