package credential

import (
	"errors"
	"fmt"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/zalando/go-keyring"
)

// TestKindOf has the errors of buses and Secret Services that no test can bring a
// real one to.
func TestKindOf(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want Kind
	}{
		{"no service", dbus.Error{Name: "org.freedesktop.DBus.Error.ServiceUnknown"}, Absent},
		{"it can't be started", dbus.Error{Name: "org.freedesktop.DBus.Error.Spawn.ChildExited"}, Absent},
		{"no collection", dbus.Error{Name: "org.freedesktop.Secret.Error.NoSuchObject"}, Absent},
		{"locked", dbus.Error{Name: "org.freedesktop.Secret.Error.IsLocked"}, Locked},
		{"a dialogue was dismissed", errors.New("failed to unlock correct collection '/x'"), Locked},
		{"a bus's own limit of time", dbus.Error{Name: "org.freedesktop.DBus.Error.NoReply"}, Hanging},
		{"a policy", dbus.Error{Name: "org.freedesktop.DBus.Error.AccessDenied"}, Denied},
		{"a long message", dbus.Error{Name: "org.freedesktop.DBus.Error.LimitsExceeded"}, TooBig},
		{"go-keyring's limit", keyring.ErrSetDataTooBig, TooBig},
		{"another system", keyring.ErrUnsupportedPlatform, Absent},
		{"anything else", errors.New("what"), Denied},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := kindOf(fmt.Errorf("wrapped: %w", test.err)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
