package proxytest

import (
	"os"
	"syscall"
)

// WriteProgram writes a program that is to be run at once. No child that another
// goroutine starts meanwhile may get the open file: as long as it had it, until its own
// program began, running this one would fail with "text file busy".
func WriteProgram(name string, content []byte, mode os.FileMode) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(name, content, mode); err != nil {
		return err
	}
	return os.Chmod(name, mode) // whatever the umask
}
