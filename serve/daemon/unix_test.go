//go:build unix

package daemon

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gomirror/gomirror/serve/proxytest"
)

func TestModesWhateverTheUmask(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := stateDir(t)
	acquire(t, dir)
	l, err := Address(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, capErr := Capability(dir, false)
	_, helloErr := Hello(dir, 1)
	control, controlErr := NewControl(ControlOptions{StateDir: dir})
	if err := errors.Join(capErr, helloErr, controlErr); err != nil {
		t.Fatal(err)
	}
	defer control.listener.Close()
	seen := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		seen++
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: got mode %v, want nothing for others", path, info.Mode())
		}
		if strings.HasPrefix(d.Name(), ".") {
			t.Errorf("%s: a draft was left behind", path)
		}
		return nil
	})
	if err != nil || seen != 8 {
		t.Errorf("saw %d files and folders, %v; want 8", seen, err)
	}
}

func TestFolderOpenToOthers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		parent fs.FileMode
		state  fs.FileMode
		want   string // in the error, "" for none
		hint   string
	}{
		{"closed", 0o700, 0o700, "", ""},
		{"readable by others", 0o755, 0o755, "", ""},
		{"writable by the group", 0o700, 0o770, "can be written by others", "chmod 700"},
		{"writable by others", 0o700, 0o707, "can be written by others", "chmod 700"},
		{"in a folder writable by others", 0o777, 0o700, "above the state folder", "chmod go-w"},
		{"in a sticky folder", 0o777 | fs.ModeSticky, 0o700, "", ""},
		{"in a folder writable by our group", 0o775, 0o700, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := stateDir(t)
			if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, tc.state), os.Chmod(filepath.Dir(dir), tc.parent)); err != nil {
				t.Fatal(err)
			}
			lock, err := Acquire(dir)
			if tc.want != "" {
				wantHint(t, err, tc.want, tc.hint)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			lock.Release()
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("got mode %v, %v; want it closed", info.Mode(), err)
			}
		})
	}
}

func TestSecretBehindLink(t *testing.T) {
	dir := stateDir(t)
	acquire(t, dir)
	victim := filepath.Join(filepath.Dir(dir), "victim")
	write(t, filepath.Dir(dir), "victim", "precious\n")
	if err := os.Symlink(victim, filepath.Join(dir, capabilityFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Capability(dir, true); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Dir(dir), "victim"); got != "precious\n" {
		t.Errorf("wrote through a link: %q", got)
	}
}

func TestFolderOfAnother(t *testing.T) {
	dir := stateDir(t)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		t.Log("not root: can't give a folder away; the root of the file system is one of another user")
		dir = "/"
	} else if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	_, err := Acquire(dir)
	wantHint(t, err, "belongs to uid", "as its owner")
}

func TestControlOfAnother(t *testing.T) {
	dir := stateDir(t)
	acquire(t, dir)
	control, err := NewControl(ControlOptions{StateDir: dir, Stop: func() {}, Status: func() any { return "secret" }})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- control.Run(t.Context()) }()
	client, err := Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	var status string
	if err := client.Status(t.Context(), &status); err != nil || status != "secret" {
		t.Errorf("owner: got %q, %v", status, err)
	}
	socket := filepath.Join(dir, runDir, socketFile)
	if cmd := asOther(t, "ask", socket); cmd != nil {
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "permission denied") {
			t.Errorf("another user, closed folder: got %q, %v", out, err)
		}
	}
	// The folders open by mistake: the socket still answers its owner only.
	for _, path := range []string{filepath.Dir(dir), dir, filepath.Dir(socket), socket} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if cmd := asOther(t, "ask", socket); cmd != nil {
		if out, _ := cmd.CombinedOutput(); strings.Contains(string(out), "secret") {
			t.Errorf("another user, open folder: got %q", out)
		}
	}
}

// TestStrangerFillsNoLog has other users connect again and again: each is named once.
func TestStrangerFillsNoLog(t *testing.T) {
	socket, err := net.Listen("unix", stateDir(t)+".sock")
	if err != nil {
		t.Fatal(err)
	}
	var logs bytes.Buffer
	var uids []int
	for i := range 3 * namedLimit {
		uids = append(uids, os.Getuid()+1+i/2) // each twice
	}
	next := 0
	l := &ownerOnly{Listener: socket, named: map[int]bool{}, log: slog.New(slog.NewTextHandler(&logs, nil)),
		uid: func(*net.UnixConn) (int, error) { next++; return uids[next-1], nil }}
	ended := make(chan error, 1)
	go func() { _, err := l.Accept(); ended <- err }()
	for range uids {
		c, err := net.Dial("unix", socket.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, c) // until it is dropped
		c.Close()
	}
	socket.Close()
	<-ended
	if got := strings.Count(logs.String(), "another user refused"); got != namedLimit || l.refused != len(uids) {
		t.Errorf("got %d lines and %d refusals, want %d and %d", got, l.refused, namedLimit, len(uids))
	}
}

// asOther returns a command that runs this test binary as another user, from a copy
// that this user can reach; nil if we are not root and so can't.
func asOther(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		t.Log("not root: can't play another user, only the owner's part is tested")
		return nil
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "gm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	copied := filepath.Join(dir, "other")
	if err := errors.Join(os.Chmod(dir, 0o755), proxytest.WriteProgram(copied, binary, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), copied, args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd
}
