package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// DetachOptions say which process becomes the sidecar.
type DetachOptions struct {
	Exe      string        // required: absolute path of gomirror
	Args     []string      // without the program name
	Env      []string      // the whole environment
	StateDir string        // required
	LogFile  string        // required: gets what the process prints
	Wait     time.Duration // until it answers; 0 means detachWait
}

const (
	// detachWait is for a sidecar that starts while all processors are busy with something
	// else: on a quiet machine it answers within 50 ms. One that ends says so at once.
	detachWait = 30 * time.Second
	detachStep = 20 * time.Millisecond
)

// Detach starts a sidecar in the background and returns its address once it has
// proved that it answers. If another start wins the race for the lock, the winner
// is as good. Otherwise the error has what the process printed last, and no process
// is left behind.
func Detach(ctx context.Context, opts DetachOptions) (addr string, err error) {
	if opts.Wait == 0 {
		opts.Wait = detachWait
	}
	ctx, cancel := context.WithTimeout(ctx, opts.Wait)
	defer cancel()
	if err := prepare(opts.StateDir); err != nil {
		return "", err
	}
	log, err := os.OpenFile(opts.LogFile, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return "", fmt.Errorf("open log: %w", err)
	}
	child := exec.Command(opts.Exe, opts.Args...)
	child.Env = opts.Env
	child.Dir = opts.StateDir // not the caller's: a sidecar must not pin a folder
	child.Stdout, child.Stderr = log, log
	child.SysProcAttr = detached()
	if err := child.Start(); err != nil {
		return "", fmt.Errorf("start gomirror: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- child.Wait() }() // ends with the child, or with this process
	addr, err = ready(ctx, opts.StateDir, child.Process.Pid, exited)
	if err != nil {
		_ = child.Process.Kill() // it may have ended by itself
		return "", &hinted{fmt.Errorf("start gomirror: %w%s", err, lastLines(log, before)), "gomirror serve, to see it in the foreground"}
	}
	return addr, nil
}

// ready waits until the sidecar of stateDir answers and child is it, or has ended: a
// child that lost the race would else still find the lock free after the next stop.
func ready(ctx context.Context, stateDir string, child int, exited <-chan error) (string, error) {
	var ended error
	tick := time.NewTicker(detachStep)
	defer tick.Stop()
	for {
		held := Held(stateDir)
		if pid, err := load(stateDir, pidFile); held && err == nil && (ended != nil || pid == strconv.Itoa(child)) {
			addr, err := savedAddress(stateDir)
			if err == nil {
				proof, err := Prove(ctx, stateDir, addr)
				if err == nil && proof == Ours {
					return addr, nil
				}
			}
		}
		if ended != nil && !held {
			return "", ended
		}
		select {
		case err := <-exited:
			ended = fmt.Errorf("it ended: %w", cmp.Or(err, errors.New("exit status 0")))
			exited = nil
		case <-tick.C:
		case <-ctx.Done():
			if ended != nil {
				return "", ended
			}
			return "", fmt.Errorf("it does not answer: %w", ctx.Err())
		}
	}
}

// lastLines returns what log got since offset before, the end of it.
func lastLines(log io.ReaderAt, before int64) string {
	const most, lines = 2 << 10, 8
	var b strings.Builder
	io.Copy(&b, io.NewSectionReader(log, before, 1<<20)) // what can't be read is not shown
	text := b.String()
	text = strings.TrimSpace(text[max(0, len(text)-most):])
	if text == "" {
		return ""
	}
	all := strings.Split(text, "\n")
	return "\n" + strings.Join(all[max(0, len(all)-lines):], "\n")
}
