package proxytest

import (
	"errors"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", Cmds: Cmds(), RequireExplicitExec: true, Setup: func(e *testscript.Env) error {
		return Setup(e)
	}})
}

func TestFiguresAreHeldToLimits(t *testing.T) {
	c := &call{stage: &stage{counts: map[string]Counts{"PLAIN": {Requests: 10, Bytes: map[string]int64{"zip": 70, "mod": 30}}}}}
	tests := map[string]struct {
		figure, limit string
		want          float64
	}{
		"number":  {"requests", "40", 40},
		"name":    {"requests", "PLAIN", 10},
		"share":   {"bytes", "0.5*PLAIN", 50},
		"kind":    {"bytes.zip", "0.5*PLAIN", 35},
		"no name": {"requests", "0.5*OTHER", -1},
		"figure":  {"speed", "PLAIN", -1},
		"factor":  {"bytes", "x*PLAIN", -1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := c.limit(test.figure, test.limit)
			if got != test.want && test.want >= 0 || (err != nil) != (test.want < 0) {
				t.Errorf("got %v, %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestBlackHole(t *testing.T) {
	addr, closeHole, err := BlackHole()
	if runtime.GOOS == "windows" {
		if err == nil {
			t.Error("there are black holes on Windows now: say so in Cmds")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer closeHole()
	conn, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("dial a black hole: %v, %v, want a time-out", conn, err)
	}
}
