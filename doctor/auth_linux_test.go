package doctor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve/credential/keychaintest"
)

// useSession has the machine's user be in a session with a keychain.
func (m *machine) useSession(s *keychaintest.Session) {
	for _, kv := range s.Environ {
		if name, value, _ := strings.Cut(kv, "="); name != "HOME" {
			m.vars[name] = value
		}
	}
}

// login stores a token in the keychain, or in a file with --insecure-storage.
func (m *machine) login(flags string) {
	m.t.Helper()
	m.run(storing + "=acme gomirror " + flags)
}

// TestSecretService has a real keychain be locked, hang and be gone.
func TestSecretService(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	session := keychaintest.Start(t, keychaintest.Options{})
	m.useSession(session)
	m.login("")
	m.start()
	m.diagnose("A01 ok", "A05 ok")

	session.Lock()
	reports := m.diagnose("A01 fail", "A05 skipped")
	if f := reports["A01"].Findings[0]; !strings.Contains(f.Text, "the keychain is locked") {
		t.Errorf("got %+v", f)
	}
	session.Run(reports["A01"].Findings[0].Fix)
	m.diagnose("A01 ok")
}

func TestSecretServiceHangs(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	session := keychaintest.Start(t, keychaintest.Options{})
	m.useSession(session)
	m.login("")
	m.start()
	session.Pause()
	start := time.Now()
	reports := m.diagnose("A01 fail", "A05 skipped")
	if f := reports["A01"].Findings[0]; !strings.Contains(f.Text, "does not answer") || f.Fix == "" {
		t.Errorf("got %+v", f)
	}
	if took := time.Since(start); took > 6*time.Second {
		t.Errorf("the doctor took %v", took)
	}
	session.Resume()
	m.diagnose("A01 ok")
}

// TestNoKeychain stores the token as the fix says.
func TestNoKeychain(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	session := keychaintest.Start(t, keychaintest.Options{})
	m.useSession(session)
	m.login("")
	m.start()
	m.vars["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=" + m.path("nobus") // as over ssh
	reports := m.diagnose("A01 fail", "A05 skipped")
	f := reports["A01"].Findings[0]
	if !strings.Contains(f.Text, "no keychain can be reached from here") || f.Fix != "gomirror auth login --owner acme --insecure-storage" {
		t.Errorf("got %+v", f)
	}
	m.login("--insecure-storage")
	reports = m.diagnose("A01 ok")
	if f := reports["A01"].Findings[0]; f.Status != doctor.OK || !strings.Contains(f.Text, "in plain text") {
		t.Errorf("got %+v", f)
	}
}
