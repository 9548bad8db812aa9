package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// childSilence ends a child whose last word was a request of the go command's
	// own (an import page) and that got no byte since: the first-byte limit of all
	// upstreams. go itself has no such limit.
	childSilence = 90 * time.Second

	// childLocal ends a child that neither moves bytes nor waits for go's own
	// request. git cuts its transfers itself after 20 s (http.lowSpeedTime), so it
	// is at work on this machine: index-pack takes minutes for the largest
	// histories (over a million objects on two cores).
	childLocal = 10 * time.Minute

	// childGrace is how long children may take to go after SIGTERM. git uses it to
	// take its lock files and half packs away; it needs milliseconds.
	childGrace = 3 * time.Second

	// childOutput caps what is kept of a child's output. The longest is the JSON
	// of a version list, whose own cap is 4 MiB.
	childOutput = 8 << 20

	// childSweep is the age at which a temporary folder that a killed daemon left
	// is taken away. No child lives that long.
	childSweep = 24 * time.Hour
)

// child is one run of the go command, or of git.
type child struct {
	tool  string   // absolute path of the command
	args  []string // of untrusted values, only what follows "--" or "--end-of-options"
	env   []string // GO* settings that differ from [Direct.environ]'s
	goMod string   // content of a go.mod in the working folder; "" for none

	// origin is for children that ask a module's origin: they count among those of
	// the tunnel, and their gits may ask for a credential.
	origin  bool
	modPath string // of the module that the origin is asked about
	repo    string // URL of the repository that it will ask, "" if not known
	local   bool   // must make do with what earlier children have fetched
	ports   []int  // of this machine that it may connect to beside the tunnel's
}

// name is what errors call the child.
func (c child) name() string {
	words := []string{strings.TrimSuffix(filepath.Base(c.tool), ".exe")}
	for _, arg := range c.args {
		if len(words) < 3 && !strings.Contains(arg, "=") { // a path of ours is nobody's business
			words = append(words, arg)
		}
	}
	return strings.Join(words, " ")
}

// stalledError is a child that was killed because nothing happened.
type stalledError struct {
	what  string
	limit time.Duration
}

func (e *stalledError) Error() string {
	return fmt.Sprintf("%s made no progress for %v", e.what, e.limit)
}

// exitError is a child that ended with a status other than 0.
type exitError struct {
	stderr string
	err    error // *exec.ExitError
	failed error // what the tunnel says of connections that did not come about, or nil

	told     map[string]credential // by host
	withheld error                 // why a credential was not told again
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// run runs the child in a sandbox of its own: an empty home and working folder, an
// environment that inherits nothing, a pass for the tunnel, a process group. It
// returns what the child printed on stdout, also with an *exitError.
func (d *Direct) run(ctx context.Context, c child) ([]byte, error) {
	what := c.name()
	if c.origin {
		if err := d.opts.Tunnel.slots.Acquire(ctx, 1); err != nil {
			return nil, fmt.Errorf("wait for a turn to run %s: %w", what, context.Cause(ctx))
		}
		defer d.opts.Tunnel.slots.Release(1)
	}
	box, err := d.box(c.goMod)
	if err != nil {
		return nil, fmt.Errorf("make a folder for %s: %w", what, own(err))
	}
	defer d.removeBox(box)
	pass := d.opts.Tunnel.open()
	defer pass.hangUp()
	if c.local {
		pass.hangUp()
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stdout, stderr := &capped{pass: pass}, &capped{pass: pass}
	cmd := exec.CommandContext(ctx, c.tool, c.args...)
	cmd.Dir = filepath.Join(box, "work")
	cmd.Env = d.environ(box, pass.proxyURL(), c.env)
	teller, err := d.attend(ctx, c, cmd, box)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", what, own(err))
	}
	defer teller.close()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = childGrace
	group := newGroup(cmd)
	cmd.Cancel = group.terminate
	if err := startConfined(cmd, append(c.ports, d.opts.Tunnel.port())); err != nil {
		return nil, fmt.Errorf("start %s: %w", what, own(err))
	}
	group.started()
	teller.started()
	stop := d.watch(pass, func(limit time.Duration) { cancel(&stalledError{what, limit}) })
	late := pass.reach(ctx, cancel)
	err = cmd.Wait()
	late.Stop()
	stop()
	group.end(ctx.Err() != nil)
	switch {
	case ctx.Err() != nil:
		d.heal() // git may have been killed while it held a lock
		return nil, fmt.Errorf("run %s: %w", what, context.Cause(ctx))
	case stdout.overflow:
		return nil, fmt.Errorf("run %s: it prints more than %d MiB", what, childOutput>>20)
	case errors.As(err, new(*exec.ExitError)):
		exit := &exitError{stderr: teller.redact(pass.redact(stderr.kept.String())), err: err, failed: pass.failure()}
		exit.told, exit.withheld = teller.account()
		return stdout.kept.Bytes(), exit
	case err != nil:
		return nil, fmt.Errorf("run %s: %w", what, err)
	}
	return stdout.kept.Bytes(), nil
}

// attend lets the gits of a child that asks an origin ask us for a credential.
func (d *Direct) attend(ctx context.Context, c child, cmd *exec.Cmd, box string) (*teller, error) {
	if !c.origin || c.local || d.opts.Credential == nil {
		return nil, nil
	}
	t, err := d.openTeller(ctx, box, c.modPath)
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = t.inlet.files()
	cmd.Env = append(cmd.Env, t.environ(ctx, c.repo)...)
	return t, nil
}

func (opts DirectOptions) makeFolders() error {
	if err := os.MkdirAll(opts.VCSDir, 0o700); err != nil {
		return err
	}
	return os.MkdirAll(opts.TempDir, 0o700)
}

// box makes the folders of one child below one temporary folder.
func (d *Direct) box(goMod string) (string, error) {
	if err := d.opts.makeFolders(); err != nil { // the cache may have been removed
		return "", err
	}
	box, err := os.MkdirTemp(d.opts.TempDir, "go-")
	if err != nil {
		return "", err
	}
	// The go command starts a telemetry sidecar in a session of its own, which
	// would outlive the process group; the mode file in its home stops that.
	telemetry := filepath.Join(userConfig(filepath.Join(box, "home")), "go", "telemetry")
	for _, dir := range []string{filepath.Join(box, "work"), filepath.Join(box, "tmp"), telemetry} {
		err = errors.Join(err, os.MkdirAll(dir, 0o700))
	}
	err = errors.Join(err, os.WriteFile(filepath.Join(telemetry, "mode"), []byte("off\n"), 0o600))
	if goMod != "" {
		err = errors.Join(err, os.WriteFile(filepath.Join(box, "work", "go.mod"), []byte(goMod), 0o600))
	}
	if err != nil {
		_ = os.RemoveAll(box)
		return "", err
	}
	return box, nil
}

func (d *Direct) removeBox(box string) {
	if err := os.RemoveAll(box); err != nil {
		d.opts.Log.Debug("temporary folder stays", "dir", box, "err", err)
	}
}

// watch calls stalled once with the limit that the child has passed in silence. stop
// ends the watch and waits for it.
func (d *Direct) watch(p *pass, stalled func(limit time.Duration)) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop, or when it has called stalled
		defer close(done)
		for {
			at, byGo := p.progress()
			limit := d.local
			if byGo {
				limit = d.silence
			}
			rest := limit - time.Since(at)
			if rest <= 0 {
				stalled(limit)
				return
			}
			select {
			case <-quit:
				return
			case <-time.After(min(rest, d.silence)): // the shorter limit may come to count
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// capped keeps the first childOutput bytes of what a child prints, and takes each
// write as progress. It embeds no buffer: io.Copy would go past Write.
type capped struct {
	pass     *pass
	kept     bytes.Buffer
	overflow bool
}

func (c *capped) Write(b []byte) (int, error) {
	c.pass.printed()
	if room := childOutput - c.kept.Len(); len(b) > room {
		c.overflow = true
		c.kept.Write(b[:room])
		return len(b), nil // the child is not to be stopped by a broken pipe
	}
	return c.kept.Write(b)
}

// sweepBoxes takes away what daemons that were killed left in the temporary folder.
func sweepBoxes(dir string, now time.Time) {
	boxes, _ := filepath.Glob(filepath.Join(dir, "go-*"))
	for _, box := range boxes {
		if info, err := os.Lstat(box); err == nil && now.Sub(info.ModTime()) > childSweep {
			_ = os.RemoveAll(box)
		}
	}
}
