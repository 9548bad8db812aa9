//go:build unix

package cmd

import (
	"fmt"
	"syscall"
)

// noCore has this process and its children write no core: go and git hold private
// source, and git the token.
func noCore() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("set the core limit to 0: %w", err)
	}
	return nil
}
