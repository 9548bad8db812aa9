//go:build unix

package upstream

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// running reports whether a process lives. One that has ended but that nobody has
// asked for its status does not.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}
