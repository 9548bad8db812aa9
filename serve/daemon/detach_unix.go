//go:build unix

package daemon

import "syscall"

// detached puts the child into a session of its own: the end of the terminal, or an
// interrupt typed there, does not reach it.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
