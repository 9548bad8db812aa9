package cmd

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// noDump closes our memory, environment and open files, as /proc shows them, to other
// programs of this user, see PR_SET_DUMPABLE of prctl(2). Children are what they were:
// execve resets it.
func noDump() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the process undumpable: %w", err)
	}
	return nil
}
