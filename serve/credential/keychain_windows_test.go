package credential

import (
	"fmt"
	"testing"

	"golang.org/x/sys/windows"
)

func TestKindOf(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want Kind
	}{
		{"a session without credentials", windows.ERROR_NO_SUCH_LOGON_SESSION, Absent},
		{"the service is off", windows.ERROR_SERVICE_DISABLED, Absent},
		{"no right to it", windows.ERROR_ACCESS_DENIED, Denied},
		{"a long secret", windows.RPC_X_BAD_STUB_DATA, TooBig},
		{"anything else", windows.ERROR_INVALID_PARAMETER, Denied},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := kindOf(fmt.Errorf("wrapped: %w", test.err)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
