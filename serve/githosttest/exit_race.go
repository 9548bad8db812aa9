//go:build race && linux

package githosttest

import "syscall"

// Exit ends this process at once. The race detector has each process sleep for a second
// before it ends unless GORACE says otherwise, which an askpass, whose environment is
// gomirror's to make, can't be told. It is for children that do nothing else.
func Exit(code int) {
	syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(code), 0, 0)
}
