package credential

import (
	"errors"
	"fmt"
	"strings"

	"github.com/godbus/dbus/v5"
)

// The Secret Service has no commands of its own; these are of the one that most
// systems run. The first reads the keyring's password from standard input, up to an
// end of file, and makes a keyring if there is none. Without --replace it leaves a
// daemon that D-Bus has started as locked as it was.
const (
	unlockCommand  = "gnome-keyring-daemon --replace --unlock --components=secrets"
	restartCommand = "systemctl --user restart gnome-keyring-daemon"
)

const (
	secretsName    = "org.freedesktop.secrets"
	secretsPath    = dbus.ObjectPath("/org/freedesktop/secrets")
	loginPath      = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
	defaultPath    = dbus.ObjectPath("/org/freedesktop/secrets/aliases/default")
	lockedProperty = "org.freedesktop.Secret.Collection.Locked"
	listProperty   = "org.freedesktop.Secret.Service.Collections"
)

// ready returns a fault if the collection that go-keyring is going to use is not
// there, or locked and no dialogue is wanted. go-keyring itself would start a bus of
// its own, or open a dialogue and wait for it without end.
func ready(dialogue bool) error {
	conn, err := dbus.SessionBusPrivateNoAutoStartup()
	if err != nil {
		return &KeychainError{Kind: Absent, Err: err}
	}
	defer conn.Close()
	if err := errors.Join(conn.Auth(nil), conn.Hello()); err != nil {
		return &KeychainError{Kind: Absent, Err: err}
	}
	list, err := conn.Object(secretsName, secretsPath).GetProperty(listProperty)
	if err != nil {
		return err
	}
	path := defaultPath
	paths, _ := list.Value().([]dbus.ObjectPath)
	for _, p := range paths {
		if p == loginPath {
			path = p
		}
	}
	locked, err := conn.Object(secretsName, path).GetProperty(lockedProperty)
	if kind, known := systemKind(err); known && kind == Absent {
		return &KeychainError{Kind: Locked, Err: errors.New("no keyring has been made yet")}
	}
	if err != nil {
		return err
	}
	if yes, _ := locked.Value().(bool); yes && !dialogue {
		return &KeychainError{Kind: Locked, Err: fmt.Errorf("%s", strings.TrimPrefix(string(path), "/org/freedesktop/secrets/"))}
	}
	return nil
}

// systemKind reads the errors of D-Bus and of the Secret Service.
func systemKind(err error) (Kind, bool) {
	var fault dbus.Error
	if !errors.As(err, &fault) {
		// go-keyring's words after a dialogue was dismissed
		return Locked, err != nil && strings.Contains(err.Error(), "failed to unlock")
	}
	if strings.HasPrefix(fault.Name, "org.freedesktop.DBus.Error.Spawn.") {
		return Absent, true // there is a service, and it can't be started
	}
	switch strings.TrimPrefix(fault.Name, "org.freedesktop.") {
	case "Secret.Error.IsLocked":
		return Locked, true
	case "Secret.Error.NoSuchObject", "DBus.Error.UnknownObject", "DBus.Error.UnknownMethod", "DBus.Error.ServiceUnknown",
		"DBus.Error.NameHasNoOwner":
		return Absent, true
	case "DBus.Error.NoReply", "DBus.Error.Timeout", "DBus.Error.TimedOut":
		return Hanging, true
	case "DBus.Error.LimitsExceeded":
		return TooBig, true
	}
	return 0, false
}
