//go:build linux

// Package keychaintest runs a real Secret Service for tests: GNOME's keyring on a
// D-Bus session of its own, with its own home folder. Nothing of it is seen by, or
// sees, the session of who runs the tests.
package keychaintest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"
)

// Password opens the keyring.
const Password = "correct horse battery staple"

const secretsName = "org.freedesktop.secrets"

// Options choose what is not as it should be.
type Options struct {
	NoService bool // the bus is there, the Secret Service is not
	Deny      bool // the bus lets nobody talk to the Secret Service
}

// Session is a D-Bus session with a Secret Service on it.
type Session struct {
	// Environ is what a process needs to find it: the address of the bus, and the
	// folders of the keyring.
	Environ []string
	Home    string // the keyring's files are below it

	t       testing.TB
	keyring *exec.Cmd
}

// Start starts a session whose keyring is unlocked. It ends with the test. That the
// programs are missing fails the test: .ci/test installs them.
func Start(t testing.TB, opts Options) *Session {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // the path of a socket has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Session{t: t, Home: filepath.Join(dir, "home")}
	for _, folder := range []string{s.Home, filepath.Join(dir, "run")} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	address := "unix:path=" + filepath.Join(dir, "bus")
	s.Environ = []string{
		"DBUS_SESSION_BUS_ADDRESS=" + address,
		"XDG_RUNTIME_DIR=" + filepath.Join(dir, "run"),
		"XDG_DATA_HOME=" + filepath.Join(s.Home, "share"),
		"HOME=" + s.Home,
	}
	s.startBus(dir, address, opts)
	if !opts.NoService {
		s.Unlock()
	}
	return s
}

// startBus starts a bus that activates no services: what answers on it is what the
// test has started.
func (s *Session) startBus(dir, address string, opts Options) {
	s.t.Helper()
	deny := ""
	if opts.Deny {
		deny = fmt.Sprintf(`<deny send_destination=%q send_interface="org.freedesktop.Secret.Collection"/>
<deny send_destination=%[1]q send_interface="org.freedesktop.DBus.Properties"/>`, secretsName)
	}
	config := fmt.Sprintf(`<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>%s</policy>
</busconfig>`, address, deny)
	path := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	bus := exec.Command("dbus-daemon", "--config-file="+path, "--nofork", "--print-address")
	out, err := bus.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.start(bus)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil { // printed once it listens
		s.t.Fatalf("start dbus-daemon: %v (it printed %q)", err, line)
	}
}

// Unlock starts the keyring with its password, in place of one that runs.
func (s *Session) Unlock() {
	s.t.Helper()
	s.startKeyring("--unlock")
}

// Lock starts the keyring without its password, in place of the one that runs.
func (s *Session) Lock() {
	s.t.Helper()
	s.startKeyring("--start")
}

// Pause stops the keyring from answering until Resume.
func (s *Session) Pause()  { s.signal(syscall.SIGSTOP) }
func (s *Session) Resume() { s.signal(syscall.SIGCONT) }

// OpenDialogue has a prompter on the bus whose dialogues nobody sees or answers.
func (s *Session) OpenDialogue() {
	s.t.Helper()
	conn := s.dial()
	s.t.Cleanup(func() { conn.Close() })
	const name, path = "org.gnome.keyring.SystemPrompter", "/org/gnome/keyring/Prompter"
	if err := conn.Export(silent{}, path, "org.gnome.keyring.internal.Prompter"); err != nil {
		s.t.Fatal(err)
	}
	if reply, err := conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		s.t.Fatalf("own %s: %v, %v", name, reply, err)
	}
}

// silent is a prompter that takes a dialogue and never tells that it is shown.
type silent struct{}

func (silent) BeginPrompting(dbus.ObjectPath) *dbus.Error { return nil }

func (s *Session) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.keyring.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Session) startKeyring(how string) {
	s.t.Helper()
	if s.keyring != nil {
		s.keyring.Process.Kill()
		s.keyring.Wait() // "signal: killed"
	}
	owned := s.watch()
	s.keyring = exec.Command("gnome-keyring-daemon", "--foreground", how, "--components=secrets")
	s.keyring.Stdin = strings.NewReader(Password) // up to its end, without a line break
	s.start(s.keyring)
	owned()
}

// watch returns a function that waits until the Secret Service has its name, and
// returns its process.
func (s *Session) watch() (owned func() (pid int)) {
	s.t.Helper()
	conn := s.dial()
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	err := conn.AddMatchSignal(dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"),
		dbus.WithMatchArg(0, secretsName))
	if err != nil {
		s.t.Fatalf("watch the bus of the test: %v", err)
	}
	return func() (pid int) {
		defer conn.Close()
		for {
			select {
			case signal := <-signals:
				if signal.Name != "org.freedesktop.DBus.NameOwnerChanged" || signal.Body[2] == "" {
					continue
				}
			case <-s.t.Context().Done():
				s.t.Fatal("the keyring never came")
			}
			if err := conn.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixProcessID", 0, secretsName).Store(&pid); err != nil {
				s.t.Fatalf("ask who is the keyring: %v", err)
			}
			return pid
		}
	}
}

func (s *Session) dial() *dbus.Conn {
	s.t.Helper()
	address, _ := strings.CutPrefix(s.Environ[0], "DBUS_SESSION_BUS_ADDRESS=")
	conn, err := dbus.Connect(address)
	if err != nil {
		s.t.Fatalf("connect to the bus of the test: %v", err)
	}
	return conn
}

// start starts a process that ends with the test.
func (s *Session) start(cmd *exec.Cmd) {
	s.t.Helper()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LANG=C"}, s.Environ...)
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start %s: %v; bash .ci/test installs it", cmd.Path, err)
	}
	s.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // an error once more if it was replaced before
	})
}

// Run runs a command of gnome-keyring-daemon that puts another one in place of that
// which runs, and gives it the password.
func (s *Session) Run(command string) {
	s.t.Helper()
	owned := s.watch()
	words := strings.Fields(command)
	cmd := exec.CommandContext(s.t.Context(), words[0], words[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LANG=C"}, s.Environ...)
	cmd.Stdin = strings.NewReader(Password)
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("%s: %v", command, err)
	}
	daemon, err := os.FindProcess(owned()) // it has left its parent
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { daemon.Kill() })
}
