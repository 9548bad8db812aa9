//go:build unix

package upstream

import (
	"errors"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// group is the process group of a child: the go command, its gits and theirs.
type group struct{ cmd *exec.Cmd }

func newGroup(cmd *exec.Cmd) *group {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return &group{cmd}
}

// started is for systems that can group a process only once it runs.
func (g *group) started() {}

// terminate asks all of the group to go: on SIGTERM git takes its lock files with
// it, which would else block the repository for good.
func (g *group) terminate() error { return syscall.Kill(-g.cmd.Process.Pid, syscall.SIGTERM) }

// end ends what is left of the group after the go command itself. If that was killed,
// its gits were asked to go at the same moment and get childGrace to do so; else they
// have done their work. A group's number is not given to another process while a
// member lives.
func (g *group) end(killed bool) {
	const step = 5 * time.Millisecond
	pgid := -g.cmd.Process.Pid
	for waited := time.Duration(0); killed && waited < childGrace; waited += step {
		if errors.Is(syscall.Kill(pgid, 0), syscall.ESRCH) {
			return
		}
		time.Sleep(step)
	}
	_ = syscall.Kill(pgid, syscall.SIGKILL)
}

// systemEnviron is what programs of this system need beside [Direct.environ].
func systemEnviron(string) []string { return nil }

// userConfig is where the go command looks for its telemetry mode, see
// os.UserConfigDir.
func userConfig(home string) string {
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return filepath.Join(home, "Library", "Application Support")
	}
	return filepath.Join(home, ".config")
}
