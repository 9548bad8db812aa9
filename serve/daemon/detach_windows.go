package daemon

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// detached gives the child no console, and a group of its own, so that closing the
// window or an interrupt typed there does not reach it.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP, HideWindow: true}
}
