//go:build unix

package cmd

import "syscall"

// keepPrivate has this process and its children make files for their owner alone:
// go and git write private code to the cache, and take the modes from the umask.
func keepPrivate() { syscall.Umask(0o077) }
