package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gomirror/gomirror/serve/daemon"
)

// envCommands are what the scripts of env, status and stop use.
//
//	sidecar [-served P] [-private P] [-unasked P] [-upstream L]  a daemon that serves nothing; sets S to its address
//	squat                                            another program takes that address
//	knock HOST                                       a request with that Host header
//	shells VARIANTS NAME=VALUE… -- NAME=VALUE…       in shells with these variables, set up: go env says exactly that
//	keep NAME                                        sets NAME to the last output
//	exits CODE COMMAND…                              the command must end with this code
func envCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"sidecar": startFake,
		"squat":   squat,
		"knock":   knock,
		"shells":  checkShells,
		"exits":   exits,
		"keep": func(ts *testscript.TestScript, neg bool, args []string) {
			ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
		},
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	code := 0
	var exit *exec.ExitError
	err := ts.Exec(args[1], args[2:]...)
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got, want := strconv.Itoa(code), args[0]; got != want {
		ts.Fatalf("%v: got exit code %s, want %s", args[1:], got, want)
	}
}

func stateDir(ts *testscript.TestScript) string {
	return filepath.Join(ts.Getenv("XDG_STATE_HOME"), "gomirror")
}

// startFake is a daemon with the real lock, address, proof and control socket, and
// a status of the script's choice.
func startFake(ts *testscript.TestScript, neg bool, args []string) {
	doc := statusDoc{SchemaVersion: 1, Version: "v0.0.0-test", PID: 4711}
	flags := flag.NewFlagSet("sidecar", flag.ContinueOnError)
	split := func(list *[]string) func(string) error {
		return func(v string) error { *list = patterns(v); return nil }
	}
	flags.Func("served", "patterns", split(&doc.Served))
	flags.Func("private", "patterns", split(&doc.Private))
	flags.Func("unasked", "patterns", split(&doc.Unasked))
	flags.StringVar(&doc.Upstream, "upstream", "https://up.example,direct", "list")
	status := flags.String("status", "", "file with more of the status")
	ts.Check(flags.Parse(args))
	if *status != "" {
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(*status)), &doc))
	}

	state := stateDir(ts)
	lock, err := daemon.Acquire(state)
	ts.Check(err)
	listener, err := daemon.Address(state, "")
	ts.Check(err)
	capability, err := daemon.Capability(state, false)
	ts.Check(err)
	hello, err := daemon.Hello(state, listener.Addr().(*net.TCPAddr).Port)
	ts.Check(err)
	doc.Address = listener.Addr().String()

	ctx, cancel := context.WithCancel(context.Background())
	control, err := daemon.NewControl(daemon.ControlOptions{
		StateDir: state,
		Status:   func() any { return doc },
		Stop:     cancel,
	})
	ts.Check(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, hello(r.URL.Query().Get("n")))
	})}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	running.Go(func() {
		_ = control.Run(ctx)
		_ = server.Close()
		_ = lock.Release()
	})
	ts.Defer(func() { cancel(); running.Wait() })
	ts.Setenv("S", "http://"+doc.Address+"/t/"+capability)
}

func squat(ts *testscript.TestScript, neg bool, args []string) {
	addr, _, err := daemon.Saved(stateDir(ts))
	ts.Check(err)
	listener, err := net.Listen("tcp", addr)
	ts.Check(err)
	server := &http.Server{Handler: http.NotFoundHandler()}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	ts.Defer(func() { server.Close(); running.Wait() })
}

func knock(ts *testscript.TestScript, neg bool, args []string) {
	addr, _, err := daemon.Saved(stateDir(ts))
	ts.Check(err)
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/", nil)
	ts.Check(err)
	req.Host = args[0]
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	ts.Check(err)
	resp.Body.Close()
}

// variant is one way in which people evaluate the output.
type variant struct {
	shell     []string
	eval      string
	evalUnset string
}

func variants() map[string]variant {
	quoted := `eval "$(gomirror env ${ENVFLAGS-})"`
	bare := `eval $(gomirror env ${ENVFLAGS-})`
	posix := func(setup, eval string, shell ...string) variant {
		return variant{shell: shell, eval: setup + eval, evalUnset: setup + strings.Replace(eval, "env", "env --unset", 1)}
	}
	return map[string]variant{
		"bash":          posix("", quoted, "bash", "-eu", "-c"),
		"bash-bare":     posix("", bare, "bash", "-c"),
		"bash-nullglob": posix("shopt -s nullglob extglob; ", bare, "bash", "-c"),
		"bash-failglob": posix("shopt -s failglob extglob; ", bare, "bash", "-c"),
		"bash-noglob":   posix("set -f; ", bare, "bash", "-c"),
		"bash-posix":    posix("", bare, "bash", "--posix", "-c"),
		"zsh":           posix("", quoted, "zsh", "-f", "-c"),
		"zsh-bare":      posix("", bare, "zsh", "-f", "-c"),
		"zsh-null":      posix("setopt nullglob extendedglob; ", bare, "zsh", "-f", "-c"),
		"zsh-sh":        posix("", bare, "zsh", "--emulate", "sh", "-f", "-c"),
		"dash":          posix("", quoted, "dash", "-eu", "-c"),
		"dash-bare":     posix("", bare, "dash", "-c"),
		"fish":          {shell: []string{"env", "LC_ALL=C.UTF-8", "fish", "-N", "-c"}, eval: "gomirror env --shell fish | source", evalUnset: "gomirror env --shell fish --unset | source"},
		"fish-eval":     {shell: []string{"env", "LC_ALL=C.UTF-8", "fish", "-N", "-c"}, eval: "eval (gomirror env --shell=fish)", evalUnset: "eval (gomirror env --unset --shell=fish)"},
		"fish-auto":     {shell: []string{"env", "LC_ALL=C.UTF-8", "SHELL=/usr/bin/fish", "fish", "-N", "-c"}, eval: "gomirror env | source", evalUnset: "gomirror env --unset | source"},
	}
}

// checkShells sets a shell up, twice, and gives it all back. After the first time
// go env must say what args say, the second must change nothing, and in the end the
// variables must be what they were, set or unset, byte for byte. VARIANTS is a list
// or "all".
func checkShells(ts *testscript.TestScript, neg bool, args []string) {
	names := slices.Sorted(maps.Keys(variants()))
	if args[0] != "all" {
		names = strings.Split(args[0], ",")
	}
	dashes := slices.Index(args, "--")
	before := args[1:dashes]
	want := map[string]string{}
	for _, a := range args[dashes+1:] {
		name, value, _ := strings.Cut(a, "=")
		want[name] = value
	}
	for _, name := range names {
		v, ok := variants()[name]
		if !ok {
			ts.Fatalf("no variant %s", name)
		}
		const mark = "echo; echo +++"
		body := strings.Join([]string{"env", mark,
			v.eval, "go env -json " + strings.Join(goVars(), " "), mark,
			"env", mark,
			v.eval, "env", mark,
			v.evalUnset, "env"}, "\n")
		command := slices.Concat(before, v.shell, []string{body})
		if err := ts.Exec("env", command...); err != nil {
			ts.Fatalf("%s: %v", name, err)
		}
		parts := strings.Split(ts.ReadFile("stdout"), "\n+++\n")
		if len(parts) != 5 {
			ts.Fatalf("%s: got %d parts, want 5", name, len(parts))
		}
		var got map[string]string
		ts.Check(json.Unmarshal([]byte(parts[1]), &got))
		if diff := cmp.Diff(want, got); diff != "" {
			ts.Fatalf("%s: go env after gomirror env (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(ours(parts[2]), ours(parts[3])); diff != "" {
			ts.Fatalf("%s: gomirror env twice (-once +twice):\n%s", name, diff)
		}
		if diff := cmp.Diff(ours(parts[0]), ours(parts[4])); diff != "" {
			ts.Fatalf("%s: gomirror env --unset (-before +after):\n%s", name, diff)
		}
	}
}

// ours returns the lines of env(1) that gomirror env may change.
func ours(environ string) []string {
	var lines []string
	for line := range strings.Lines(environ) {
		name, _, _ := strings.Cut(line, "=")
		if name == originalsVar || slices.Contains(goVars(), name) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	slices.Sort(lines)
	return lines
}
