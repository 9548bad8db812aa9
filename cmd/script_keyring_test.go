package cmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/zalando/go-keyring"
)

// keyringCommands run a real Secret Service, GNOME's, for one script.
//
//	keyring-start    a session bus of the script's own, in $DBUS_SESSION_BUS_ADDRESS,
//	                 and on it an unlocked keyring
//	keyring-lock     locks it, as a screen lock may
//	exec keyring-item ACCOUNT    prints what it holds for gomirror; fails if nothing
func keyringCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"keyring-start": startKeyring,
		"keyring-lock":  lockKeyring,
	}
}

const secretsName = "org.freedesktop.secrets"

func startKeyring(ts *testscript.TestScript, neg bool, args []string) {
	address := "unix:path=" + filepath.Join(ts.Getenv("WORK"), "bus")
	started, tell, err := os.Pipe()
	ts.Check(err)
	bus := exec.Command("dbus-daemon", "--session", "--nofork", "--nosyslog", "--print-address=3", "--address="+address)
	bus.ExtraFiles = []*os.File{tell}
	startFor(ts, bus)
	tell.Close()
	_, err = started.Read(make([]byte, 1)) // the address, once it listens
	ts.Check(err)
	ts.Setenv("DBUS_SESSION_BUS_ADDRESS", address)

	conn := dialBus(ts)
	owned := make(chan *dbus.Signal, 8)
	conn.Signal(owned)
	ts.Check(conn.AddMatchSignal(dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, secretsName)))
	keyring := exec.Command("gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets")
	keyring.Env = append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS="+address,
		"HOME="+ts.Getenv("HOME"), "XDG_DATA_HOME="+filepath.Join(ts.Getenv("WORK"), "h", "data"), "XDG_RUNTIME_DIR="+ts.Getenv("WORK"))
	keyring.Stdin = strings.NewReader("password of the keyring")
	startFor(ts, keyring)
	select {
	case <-owned:
	case <-time.After(time.Minute):
		ts.Fatalf("gnome-keyring-daemon does not offer %s", secretsName)
	}
}

// startFor starts a program that ends with the script.
func startFor(ts *testscript.TestScript, c *exec.Cmd) {
	c.Stdout, c.Stderr = io.Discard, io.Discard
	ts.Check(c.Start())
	ts.Defer(func() { _ = c.Process.Kill(); _ = c.Wait() })
}

func dialBus(ts *testscript.TestScript) *dbus.Conn {
	conn, err := dbus.Connect(ts.Getenv("DBUS_SESSION_BUS_ADDRESS"))
	ts.Check(err)
	ts.Defer(func() { conn.Close() })
	return conn
}

func lockKeyring(ts *testscript.TestScript, neg bool, args []string) {
	service := dialBus(ts).Object(secretsName, "/org/freedesktop/secrets")
	login := []dbus.ObjectPath{"/org/freedesktop/secrets/collection/login"}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ts.Check(service.CallWithContext(ctx, "org.freedesktop.Secret.Service.Lock", 0, login).Err)
}

// printItem is the program keyring-item: it looks into the keychain past gomirror.
func printItem() {
	text, err := keyring.Get("gomirror", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(text)
}
