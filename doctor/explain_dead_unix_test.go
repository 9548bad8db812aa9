//go:build unix

package doctor

import (
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/proxytest"
)

// On a network that swallows everything the answer comes after one silence, not after
// one for each question.
func TestExplainDeadNetwork(t *testing.T) {
	addr, closeHole, err := proxytest.BlackHole()
	if err != nil {
		t.Fatal(err)
	}
	defer closeHole()
	start := time.Now()
	got := explained(t, Options{CacheDir: t.TempDir(), Upstream: "http://" + addr + ",direct"}, "example.com/a/b/c@v1.0.0")
	if took := time.Since(start); took > askLimit+time.Second || got.Verdict != NetTCP {
		t.Errorf("got %s after %v: %s; want %s within %v", got.Verdict, took, got.Text, NetTCP, askLimit+time.Second)
	}
}
