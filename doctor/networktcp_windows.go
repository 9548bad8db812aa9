package doctor

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// What befalls a dial. The numbers of package syscall are invented on Windows.
const (
	errRefused   syscall.Errno = windows.WSAECONNREFUSED
	errNoNetwork syscall.Errno = windows.WSAENETUNREACH
	errNoHost    syscall.Errno = windows.WSAEHOSTUNREACH
	errReset     syscall.Errno = windows.WSAECONNRESET
)
