package upstream

import (
	"fmt"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// landlockNet is the version of Landlock that knows of ports (Linux 6.7).
const landlockNet = 4

// startConfined starts a child that can open TCP connections to nothing but ports: its
// tunnel's. The go command takes no proxy for an address of this machine, however it
// has learned it, so variables alone don't hold a child to the tunnel. Where the
// kernel can't, the child starts all the same.
func startConfined(cmd *exec.Cmd, ports []int) error {
	started := make(chan error)
	go func() { // ends when the child runs, and takes its thread along: what that gave up can't be had back
		runtime.LockOSThread()
		if err := confineThread(ports); err != nil {
			started <- fmt.Errorf("confine it: %w", err)
			return
		}
		started <- cmd.Start()
	}()
	return <-started
}

// confineThread confines this thread and what it starts. See man 7 landlock.
func confineThread(ports []int) error {
	version, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if int(version) < landlockNet {
		return nil
	}
	rules := struct{ fs, net uint64 }{net: unix.LANDLOCK_ACCESS_NET_CONNECT_TCP}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules), 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(fd))
	for _, port := range ports {
		const netPort = 2 // LANDLOCK_RULE_NET_PORT
		rule := struct{ access, port uint64 }{unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, uint64(port)}
		if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, fd, netPort, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
			return errno
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
