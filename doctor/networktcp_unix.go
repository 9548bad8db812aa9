//go:build unix

package doctor

import "syscall"

// What befalls a dial.
const (
	errRefused   = syscall.ECONNREFUSED
	errNoNetwork = syscall.ENETUNREACH
	errNoHost    = syscall.EHOSTUNREACH
	errReset     = syscall.ECONNRESET
)
