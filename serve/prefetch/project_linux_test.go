package prefetch

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

// TestRunning has a real process that is named go work in a project and hold a connection.
func TestRunning(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/m\n\nrequire example.com/a v1.2.3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	// It copies its input until we close it, whatever its name. -u is one of its flags
	// and says nothing to wantsZips.
	named := filepath.Join(t.TempDir(), "go")
	if err := os.Symlink(cat, named); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(named, "-u")
	cmd.Dir = dir
	cmd.Env = []string{"GOPROXY=http://127.0.0.1:1/t/ours,direct", "GONOPROXY=corp.example"}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd.ExtraFiles = []*os.File{file}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	// Start returns before the process has its arguments and its environment.
	if _, err := io.WriteString(in, "up\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("up\n"))); err != nil {
		t.Fatal(err)
	}
	want := module.Version{Path: "example.com/a", Version: "v1.2.3"}
	tests := []struct {
		name    string
		through bool
		port    int
	}{
		{"a command that asks us", true, port},
		{"one that asks another proxy", false, port},
		{"one that is not connected to us", true, port + 1},
	}
	for _, test := range tests {
		running := Running(func(goproxy string) bool { return test.through && strings.Contains(goproxy, "/t/ours") }, test.port)
		found := slices.ContainsFunc(running, func(p Project) bool {
			return slices.Contains(p.Requires, want) && p.Dir == dir && !p.Zips && slices.Contains(p.Private, "corp.example")
		})
		if want := test.through && test.port == port; found != want {
			t.Errorf("%s: found is %v", test.name, found)
		}
	}
}
