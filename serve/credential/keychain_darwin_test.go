package credential

import (
	"fmt"
	"os/exec"
	"testing"
)

func TestKindOf(t *testing.T) {
	tests := []struct {
		name   string
		status int
		want   Kind
	}{
		{"interaction not allowed", 36, Locked},
		{"no such keychain", 50, Absent},
		{"not available", 53, Absent},
		{"wrong password", 51, Denied},
		{"the user said no", 128, Denied},
		{"anything else", 1, Denied},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := exec.CommandContext(t.Context(), "sh", "-c", fmt.Sprintf("exit %d", test.status)).Run()
			if got := kindOf(fmt.Errorf("wrapped: %w", err)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
