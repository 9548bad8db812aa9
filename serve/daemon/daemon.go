// Package daemon is the sidecar as a process: one a state folder, found and told
// apart from impostors, started in the background, asked, and stopped.
//
// The state folder holds everything that makes this sidecar ours:
//
//	lock                 held for as long as the sidecar runs
//	pid                  of who holds it, or held it last
//	address              host:port it listens on, the same after each start
//	capability           what every request path begins with; shells have it in GOPROXY
//	hello.key            proves to our own commands that the listener is ours
//	run/control.sock     how they ask it and stop it
//
// A port can be taken by anyone while the sidecar is down, and the go command would
// hand the capability to whoever listens there. Therefore no command sends or prints
// it before [Prove] says that the listener has the key.
package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The files of a state folder.
const (
	lockFile       = "lock"
	pidFile        = "pid"
	addressFile    = "address"
	capabilityFile = "capability"
	helloFile      = "hello.key"
	foreignFile    = "foreign" // marks that somebody else was seen on our port
	runDir         = "run"
	socketFile     = "control.sock"
)

// hinted is an error that knows the next step.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

// Hint tells the one thing to do.
func (e *hinted) Hint() string { return e.hint }

// prepare makes the state folder, and sees to it that nobody else can write there or
// exchange it: who can, is us.
func prepare(stateDir string) error {
	if !filepath.IsAbs(stateDir) {
		return fmt.Errorf("state folder %s: not an absolute path", stateDir)
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return fmt.Errorf("make state folder: %w", err)
	}
	return guardDir(stateDir)
}

// save replaces a file of the state folder: the whole of it or nothing, whatever the
// umask, and never through a link that someone put there.
func save(stateDir, name, content string) error {
	draft, err := os.CreateTemp(stateDir, "."+name+"-*") // O_EXCL, 0600
	if err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	defer os.Remove(draft.Name()) // fails once it is renamed
	_, err = draft.WriteString(content + "\n")
	if err == nil {
		err = draft.Sync()
	}
	if err := errors.Join(err, draft.Close()); err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	if err := os.Rename(draft.Name(), filepath.Join(stateDir, name)); err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	return nil
}

// load returns the one line of a file of the state folder. It writes nothing.
func load(stateDir, name string) (string, error) {
	content, err := os.ReadFile(filepath.Join(stateDir, name))
	if err != nil {
		return "", err
	}
	line, _ := strings.CutSuffix(string(content), "\n")
	if len(content) > 256 || bytes.ContainsAny([]byte(line), "\r\n\x00") {
		return "", fmt.Errorf("%s: not one short line", name)
	}
	return line, nil
}

// Saved returns the address and the capability as an earlier start left them. It
// writes nothing; the error Is fs.ErrNotExist if there never was a start.
func Saved(stateDir string) (addr, capability string, err error) {
	addr, err = savedAddress(stateDir)
	if err == nil {
		capability, err = savedCapability(stateDir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = &hinted{fmt.Errorf("gomirror was never started: %w", err), "gomirror serve --background"}
	}
	return addr, capability, err
}
