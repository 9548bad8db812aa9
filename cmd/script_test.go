package cmd

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gomirror/gomirror/serve/githosttest"
	"github.com/gomirror/gomirror/serve/proxytest"
	"github.com/gomirror/gomirror/serve/upstream"
)

func TestMain(m *testing.M) {
	programs := map[string]func(){
		"gomirror": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			code := Run(ctx, OSEnv())
			if os.Getenv(upstream.AskpassVariable) != "" {
				githosttest.Exit(code)
			}
			os.Exit(code)
		},
		"keyring-item": printItem,
		"on-terminal":  onTerminal,
	}
	maps.Copy(programs, guardPrograms())
	testscript.Main(m, programs)
}

// atOnce has a program under the race detector end without a sleep of a second, which
// some thousand commands of the scripts would take.
const atOnce = "atexit_sleep_ms=0"

// TestScript runs testdata/script: gomirror, the go command and the shells as a user
// has them, in a home folder of their own.
func TestScript(t *testing.T) {
	t.Parallel() // the leak matrix takes as long
	testscript.Run(t, scriptParams(t, "testdata/script"))
}

func scriptParams(t *testing.T, dir string) testscript.Params {
	gocache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	commands := map[string]func(*testscript.TestScript, bool, []string){}
	maps.Copy(commands, envCommands())
	maps.Copy(commands, proxytest.Cmds())
	maps.Copy(commands, gitCommands())
	maps.Copy(commands, guardCommands())
	maps.Copy(commands, canaryCommands())
	maps.Copy(commands, keyringCommands())
	return testscript.Params{
		Dir:                 dir,
		Cmds:                commands,
		Condition:           proxytest.Condition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			// Short names: the path of a socket has little room.
			e.Setenv("HOME", filepath.Join(e.WorkDir, "h"))
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "h", "config"))
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, "h", "cache"))
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "h", "state"))
			e.Setenv("GOPATH", filepath.Join(e.WorkDir, "h", "go"))
			e.Setenv("GOCACHE", strings.TrimSpace(string(gocache)))
			e.Setenv("GOTOOLCHAIN", "local")
			e.Setenv("GOTELEMETRY", "off")
			e.Setenv("NL", "a\nb")
			if err := os.MkdirAll(filepath.Join(e.WorkDir, "h", "config"), 0o700); err != nil {
				return err
			}
			setUpGit(e)
			setUpStrangers(e)
			return proxytest.Setup(e)
		},
	}
}
