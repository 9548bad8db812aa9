package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gomirror/gomirror/serve/daemon"
)

// sidecar is the daemon as a command finds it.
type sidecar struct {
	addr       string // host:port of this or the last start
	capability string
	running    bool // and proven to be ours
}

// errForeign is somebody else's listener on our address.
var errForeign = errors.New("another program listens on its address")

// findSidecar finds the daemon and has it prove that it is ours, before anything is
// sent or printed that would let somebody else pose as us.
func findSidecar(ctx context.Context, s *settings) (*sidecar, error) {
	addr, capability, err := daemon.Saved(s.stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failf("gomirror serve --background", "find gomirror: it was never started, so it has no address yet")
	}
	if err != nil {
		return nil, err
	}
	c := &sidecar{addr: addr, capability: capability}
	proof, err := daemon.Prove(ctx, s.stateDir, addr)
	if err != nil {
		return nil, err
	}
	switch {
	case proof == daemon.Ours:
		c.running = true
	// A listener that is not ours must not get the capability: it would answer as us.
	case proof == daemon.Foreign:
		return nil, failf("gomirror serve --background --listen 127.0.0.1:0",
			"find gomirror: %w %s", errForeign, addr)
	case daemon.Held(s.stateDir):
		return nil, failf("gomirror doctor", "find gomirror: it runs but does not listen on %s yet", addr)
	}
	return c, nil
}

// url is what stands in GOPROXY. It holds the capability: whoever has it can read
// what we serve, so it is printed by env and by --show-url and nowhere else.
func (c *sidecar) url() string { return fmt.Sprintf("http://%s/t/%s", c.addr, c.capability) }

// askStatus asks the daemon on its control socket, which only we can have opened.
func askStatus(ctx context.Context, s *settings) (*statusDoc, error) {
	client, err := dialSidecar(s)
	if err != nil {
		return nil, err
	}
	var doc statusDoc
	if err := client.Status(ctx, &doc); err != nil {
		return nil, err
	}
	doc.SchemaVersion, doc.Running = 1, true // what the daemon can't say about itself
	return &doc, nil
}

// dialSidecar gives "not running" its exit code.
func dialSidecar(s *settings) (*daemon.Client, error) {
	client, err := daemon.Dial(s.stateDir)
	if errors.Is(err, daemon.ErrNotRunning) {
		return nil, &problem{daemon.ErrNotRunning, exitNotRunning, "gomirror serve --background"}
	}
	return client, err
}

// whyNotRunning returns what err, which Is daemon.ErrNotRunning, does not tell:
// somebody else listens on our address, so that the next start will fail.
func whyNotRunning(ctx context.Context, s *settings, err error) error {
	if _, found := findSidecar(ctx, s); errors.Is(found, errForeign) {
		return found
	}
	return err
}

// startSidecar starts a daemon with the settings of this process and returns when it
// has proven that it answers.
func startSidecar(ctx context.Context, env *Env, s *settings, opts serveOptions) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find our own program: %w", err)
	}
	args, environ := []string{"serve", "--detached"}, env.Environ()
	if opts.rotateURL {
		args = append(args, "--rotate-url")
	}
	if env.verbose {
		args = append(args, "--verbose")
	}
	for _, k := range settingKeys() {
		// As variables, because an upstream may hold a password and every user can
		// read the arguments of a process; resolved, because the child runs in
		// another folder. What config.toml says it reads itself.
		text := k.text(s)
		switch origin := s.origins[k.name]; {
		case origin == "--"+k.flag() && text == "":
			args = append(args, "--"+k.flag()+"=")
		case origin == "--"+k.flag(), origin == k.variable():
			environ = append(environ, k.variable()+"="+text)
		}
	}
	_, err = daemon.Detach(ctx, daemon.DetachOptions{
		Exe:      exe,
		Args:     args,
		Env:      environ,
		StateDir: s.stateDir,
		LogFile:  filepath.Join(s.stateDir, logFile),
	})
	if err == nil {
		return nil
	}
	// The child's own advice is better than to look at it, and two are one too many.
	if said, advice, ok := strings.Cut(err.Error(), "\ntry: "); ok {
		advice, _, _ = strings.Cut(advice, "\n")
		if rest, ok := strings.CutPrefix(advice, "gomirror serve "); ok {
			advice = "gomirror serve --background " + rest
		}
		return &problem{errors.New(said), exitFailed, advice}
	}
	return err
}
