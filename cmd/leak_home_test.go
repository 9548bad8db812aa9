package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// leakHome is a user's home: where gomirror and go keep what is theirs.
type leakHome struct {
	lab     *leakLab
	dir     string
	environ []string // what every program of this user sees
	untold  bool     // nobody has told its sidecar what is private, so the log may name it
}

// newHome makes a home. Users with a password file need no gomirror for what is
// private: for the tests they are those who have ssh and insteadOf.
func (l *leakLab) newHome(netrc bool) *leakHome {
	l.t.Helper()
	l.homes++
	h := &leakHome{lab: l, dir: filepath.Join(l.dir, fmt.Sprint(l.homes))}
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		l.t.Fatal(err)
	}
	if netrc {
		l.write(filepath.Join(h.dir, ".netrc"), "machine github.com login x password "+leakToken+"\n")
	}
	h.environ = []string{
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "HOME=" + h.dir, "GORACE=atexit_sleep_ms=0",
		"XDG_CONFIG_HOME=" + h.dir + "/config", "XDG_CACHE_HOME=" + h.dir + "/cache", "XDG_STATE_HOME=" + h.dir + "/state", "GORACE=" + atOnce,
		// What is built is the same everywhere, so it is built once.
		"GOCACHE=" + l.dir + "/gocache", "GOFLAGS=-modcacherw -trimpath -mod=mod",
		"GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "GOTELEMETRY=off", "CGO_ENABLED=0",
		"GOPROXY=" + l.mirror.URL, "GOSUMDB=" + l.mirror.SumDBKey(),
		"HTTPS_PROXY=" + l.proxy, "SSL_CERT_FILE=" + l.host.CAFile, "GIT_SSL_CAINFO=" + l.host.CAFile,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
	}
	return h
}

// configure writes the setting private into a folder of its own, for XDG_CONFIG_HOME.
func (h *leakHome) configure(private string) (variable string) {
	dir := filepath.Join(h.dir, "configured-"+filepath.Base(private))
	h.lab.write(filepath.Join(dir, "gomirror", "config.toml"), fmt.Sprintf("private = [%q]\n", private))
	return "XDG_CONFIG_HOME=" + dir
}

// run runs a program in dir with the home's environment and more.
func (h *leakHome) run(dir string, more []string, argv ...string) (stdout string, err error) {
	return h.runFor(time.Minute, dir, more, argv...) // no command here takes that long
}

// runFor ends the program after a while: a go command waits for ever.
func (h *leakHome) runFor(limit time.Duration, dir string, more []string, argv ...string) (stdout string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.WaitDelay = time.Second // its gits may hold on to what they print to
	var out, errs bytes.Buffer
	c.Dir, c.Env, c.Stdout, c.Stderr = dir, slices.Concat(h.environ, more), &out, &errs
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(argv, " "), err, out.Bytes(), errs.Bytes())
	}
	return out.String(), nil
}

// start starts the home's sidecar, which ends with the test.
func (h *leakHome) start(more ...string) *leakHome {
	h.lab.t.Helper()
	if _, err := h.run(h.dir, more, "gomirror", "serve", "--background"); err != nil {
		h.lab.t.Fatal(err)
	}
	h.lab.t.Cleanup(func() { h.run(h.dir, nil, "gomirror", "stop") })
	return h
}

// setUp returns the variables of a shell that had user's and ran eval "$(gomirror
// env)". If gomirror refuses, that leaves the shell as it was; it must if refused.
func (h *leakHome) setUp(t *testing.T, user []string, refused bool, flags ...string) []string {
	t.Helper()
	out, err := h.run(h.dir, user, append([]string{"gomirror", "env", "--json"}, flags...)...)
	if (err != nil) != refused {
		t.Fatalf("gomirror env with %q ends in %v, want a refusal: %v", user, err, refused)
	}
	var doc envDoc
	if err := json.Unmarshal([]byte(out), &doc); err != nil && out != "" {
		t.Fatal(err)
	}
	shell := slices.Clone(user)
	for name, value := range doc.Set {
		shell = append(shell, name+"="+value)
	}
	return shell
}
