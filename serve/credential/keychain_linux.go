package credential

import (
	"errors"
	"fmt"
	"strings"

	"github.com/godbus/dbus/v5"
)

// The Secret Service has no command of its own; these are those of the one that most
// systems run. They ask for the password of the keyring.
const (
	unlockCommand  = "gnome-keyring-daemon --unlock"
	restartCommand = "gnome-keyring-daemon --replace --unlock --components=secrets"
)

const (
	secretsName    = "org.freedesktop.secrets"
	secretsPath    = dbus.ObjectPath("/org/freedesktop/secrets")
	loginPath      = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
	defaultPath    = dbus.ObjectPath("/org/freedesktop/secrets/aliases/default")
	lockedProperty = "org.freedesktop.Secret.Collection.Locked"
	listProperty   = "org.freedesktop.Secret.Service.Collections"
)

// ready returns a verdict if the collection that go-keyring is going to use is
// locked or not there. go-keyring itself would start a bus of its own, or open a
// dialogue and wait for it without end.
func ready() error {
	conn, err := dbus.SessionBusPrivateNoAutoStartup()
	if err != nil {
		return &verdict{Absent, err}
	}
	defer conn.Close()
	if err := errors.Join(conn.Auth(nil), conn.Hello()); err != nil {
		return &verdict{Absent, err}
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
	if err != nil {
		return err
	}
	if yes, _ := locked.Value().(bool); yes {
		return &verdict{Locked, fmt.Errorf("%s says so", path)}
	}
	return nil
}

// systemKind reads the errors of D-Bus and of the Secret Service.
func systemKind(err error) (Kind, bool) {
	var fault dbus.Error
	if !errors.As(err, &fault) {
		// go-keyring's words after a dialogue was dismissed
		return Locked, strings.Contains(err.Error(), "failed to unlock")
	}
	switch name := strings.TrimPrefix(fault.Name, "org.freedesktop."); {
	case name == "Secret.Error.IsLocked":
		return Locked, true
	case name == "Secret.Error.NoSuchObject", name == "DBus.Error.UnknownObject", name == "DBus.Error.UnknownMethod",
		name == "DBus.Error.ServiceUnknown", name == "DBus.Error.NameHasNoOwner", strings.HasPrefix(name, "DBus.Error.Spawn."):
		return Absent, true
	case name == "DBus.Error.NoReply", name == "DBus.Error.Timeout", name == "DBus.Error.TimedOut":
		return Hanging, true
	case name == "DBus.Error.LimitsExceeded":
		return TooBig, true
	}
	return 0, false
}
