package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gomirror/gomirror/serve/daemon"
	"github.com/gomirror/gomirror/serve/redact"
)

// daemonChecks look at the sidecar.
func daemonChecks(o Options) []Check {
	return []Check{
		{"D01", "daemon", func(context.Context) []Finding { return o.checkRunning() }},
		{"D02", "daemon", func(context.Context) []Finding { return o.checkListener() }},
		{"D03", "daemon", o.checkAnswer},
		{"D04", "daemon", func(context.Context) []Finding { return o.checkProgram() }},
		{"D06", "daemon", func(context.Context) []Finding { return o.checkLoop() }},
		{"D07", "daemon", func(context.Context) []Finding { return o.checkOwnSettings() }},
	}
}

// say makes the one finding of a check. Errors are quoted in texts, so none leaves here
// with a secret in it.
func say(status Status, fix, format string, args ...any) []Finding {
	return []Finding{{Status: status, Text: redact.Text(fmt.Sprintf(format, args...)), Fix: fix}}
}

// hintOf returns the next step that an error knows of, else that of the caller.
func hintOf(err error, otherwise string) string {
	var hinter interface{ Hint() string }
	if errors.As(err, &hinter) {
		return cmp.Or(hinter.Hint(), otherwise)
	}
	return otherwise
}

// inBackground makes a command that starts a sidecar anew of one that starts it.
func (o *Options) inBackground(command string) string {
	if rest, ok := strings.CutPrefix(command, "gomirror serve"); ok && !strings.Contains(rest, "--background") {
		return o.restart() + rest
	}
	return command
}

// checkRunning tells a sidecar that is down from one that hangs, for the second holds
// the lock and so can't be started once more.
func (o *Options) checkRunning() []Finding {
	d := o.Daemon()
	switch {
	case d.Running:
		return say(OK, "", "gomirror runs on %s", cmp.Or(d.Status.Address, d.Addr))
	case d.Held:
		if pid := o.holder(); pid > 0 {
			return say(Fail, o.killAndStart(pid),
				"gomirror runs as process %d but does not answer on its control socket", pid)
		}
		return say(Fail, o.restart(), "gomirror runs but does not answer on its control socket: %v", d.Err)
	case d.SaveErr != nil:
		return say(Fail, o.inBackground(hintOf(d.SaveErr, o.start())), "gomirror does not run: %v", d.SaveErr)
	case d.Err != nil && !errors.Is(d.Err, daemon.ErrNotRunning):
		return say(Fail, o.inBackground(hintOf(d.Err, o.start())), "gomirror does not run: %v", d.Err)
	case o.listenTaken():
		return say(Fail, o.onNewPort(), "gomirror does not run, and another program listens on %s, which the setting listen names", o.setting("listen").Value)
	case d.Addr == "":
		return say(Fail, "gomirror serve --background", "gomirror was never started")
	case d.Proof == daemon.Foreign: // it could not start on that address
		return say(Fail, o.onNewPort(), "gomirror does not run")
	}
	return say(Fail, o.start(), "gomirror does not run")
}

// holder returns the process that holds the lock of the state folder, 0 if that is not
// known. Package daemon tells what lies there.
func (o *Options) holder() int {
	line, err := os.ReadFile(filepath.Join(o.StateDir, "pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(line)))
	return pid
}

// killAndStart ends a process that may be stopped or stuck, which asks for more than
// SIGTERM, and starts another once the system is through with the first.
func (o *Options) killAndStart(pid int) string {
	if o.GOOS == "windows" {
		return fmt.Sprintf("taskkill /F /PID %d && %s", pid, o.start())
	}
	return fmt.Sprintf("kill -9 %d && sleep 1 && %s", pid, o.start())
}

// onNewPort starts a sidecar where nobody else listens, for good.
func (o *Options) onNewPort() string {
	switch {
	case !o.listenTaken():
		return o.start() + " --listen 127.0.0.1:0"
	case o.setting("listen").From == "GOMIRROR_LISTEN":
		return o.unsetInShell("GOMIRROR_LISTEN") + "; " + o.start()
	}
	return "gomirror config set listen 127.0.0.1:0; " + o.start()
}

// listenTaken reports whether somebody accepts connections where the next sidecar is to
// listen. Nothing is sent. The caller knows that it is none of ours.
func (o *Options) listenTaken() bool {
	addr := o.setting("listen").Value
	if addr == "" {
		return false // it takes the address of last time, which was proven
	}
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// checkListener says what the challenge of daemon.Prove came to: shells send the
// capability to whoever listens there.
func (o *Options) checkListener() []Finding {
	d := o.Daemon()
	switch {
	case d.SaveErr != nil && d.Running:
		return say(Fail, o.inBackground(hintOf(d.SaveErr, "gomirror serve --listen 127.0.0.1:0")), "%v", d.SaveErr)
	case d.SaveErr != nil, d.Addr == "":
		return say(Skipped, "", "there is no address to look at, see D01")
	case d.Held && !d.Running && d.Proof == daemon.Foreign:
		// What has no time to prove itself looks like a stranger.
		return say(Skipped, "", "what listens on %s may be gomirror, which does not answer, see D01", d.Addr)
	case d.Proof == daemon.Foreign && d.Running:
		return say(Fail, o.restart()+" --listen 127.0.0.1:0", "what listens on %s can't prove that it is gomirror, and go would tell it the address", d.Addr)
	case d.Proof == daemon.Foreign:
		return say(Fail, o.onNewPort(), "another program listens on %s, and go would ask it in place of gomirror", d.Addr)
	case d.Proof == daemon.Ours:
		return say(OK, "", "what listens on %s is gomirror", d.Addr)
	case d.Running && d.Proof == daemon.Closed:
		return say(Fail, o.restart(), "gomirror runs, but nobody listens on %s", d.Addr)
	case d.Err != nil && d.Proof == "":
		return say(Fail, o.inBackground(hintOf(d.Err, o.restart())), "what listens on %s can't be asked: %v", d.Addr, d.Err)
	}
	return say(Skipped, "", "nobody listens on %s, see D01", d.Addr)
}
