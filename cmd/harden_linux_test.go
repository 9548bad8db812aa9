package cmd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gomirror/gomirror/serve/prefetch"
)

// visitHarden is a process that holds a secret, in its environment as elsewhere.
//
//	visit harden show    hardened: what that comes to
//	visit harden crash   hardened, and ended by SIGABRT
//	visit harden bare    ended by SIGABRT without
func visitHarden(args []string) error {
	if args[0] == "bare" {
		if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}); err != nil {
			return err
		}
	} else if err := hardenProcess(); err != nil {
		return err
	}
	if args[0] != "show" {
		return unix.Kill(os.Getpid(), unix.SIGABRT)
	}
	var core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil {
		return err
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return err
	}
	fmt.Printf("core %d %d, dumpable %d\n", core.Cur, core.Max, dumpable)
	for _, name := range []string{"environ", "mem", "maps", "fd"} {
		out, err := exec.Command("head", "-c", "1", fmt.Sprintf("/proc/%d/%s", os.Getpid(), name)).CombinedOutput()
		fmt.Printf("another program at %s: %v, denied %v\n", name, err, strings.Contains(string(out), "Permission denied"))
	}
	return showProjects()
}

// showProjects has a program that is called go, as this user, and prints whether
// prefetch finds it: it reads /proc, where a hardened process is less than others.
func showProjects() error {
	dir, err := os.MkdirTemp("", "gm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cat, err := exec.LookPath("cat")
	if err != nil {
		return err
	}
	err = errors.Join(os.Symlink(cat, filepath.Join(dir, "go")),
		os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/seen\n"), 0o600))
	if err != nil {
		return err
	}
	c := exec.Command(filepath.Join(dir, "go"))
	c.Dir, c.Env = dir, []string{"GOPROXY=ours"}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		return err
	}
	defer file.Close()
	c.ExtraFiles = []*os.File{file}
	in, inErr := c.StdinPipe()
	out, outErr := c.StdoutPipe()
	if err := errors.Join(inErr, outErr, c.Start()); err != nil {
		return err
	}
	defer func() { c.Process.Kill(); c.Wait() }()
	// Start returns before the process has its environment: it has once it does its work.
	if _, err := io.WriteString(in, "up\n"); err != nil {
		return err
	}
	if _, err := io.ReadFull(out, make([]byte, len("up\n"))); err != nil {
		return err
	}
	through := func(goproxy string) bool { return goproxy == "ours" }
	port := listener.Addr().(*net.TCPAddr).Port
	fmt.Printf("projects %d\nunconnected projects %d\n", len(prefetch.Running(through, port)), len(prefetch.Running(through, port+1)))
	return nil
}

// visitor is this test binary as the program visit.
func visitor(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe)
	c.Args = append([]string{"visit"}, args...)
	c.Dir = t.TempDir()
	c.WaitDelay = time.Minute
	return c
}

// TestHardenNoCore crashes as hard as a user can ask for.
func TestHardenNoCore(t *testing.T) {
	for _, tc := range []struct {
		role string
		core bool
	}{
		{"bare", true}, // what the next one is held against
		{"crash", false},
	} {
		t.Run(tc.role, func(t *testing.T) {
			c := visitor(t, "harden", tc.role)
			c.Env = append(os.Environ(), "GOTRACEBACK=crash")
			out, err := c.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("got %v, want it killed: %s", err, out)
			}
			status := exit.Sys().(syscall.WaitStatus)
			if tc.role == "bare" && !status.CoreDump() {
				t.Logf("this system writes no cores anyway: %v, %s", err, out)
				return
			}
			if status.CoreDump() != tc.core {
				t.Errorf("got core dumped %v, want %v", status.CoreDump(), tc.core)
			}
			left, err := filepath.Glob(filepath.Join(c.Dir, "*core*"))
			if err != nil || !tc.core && len(left) > 0 {
				t.Errorf("left %q, %v", left, err)
			}
		})
	}
}
