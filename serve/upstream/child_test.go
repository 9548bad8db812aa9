package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/githosttest"
	"github.com/google/go-cmp/cmp"
)

// TestMain lets the test binary stand in for the program that git asks, and for the go
// command: under the name fakego it does what its first argument says.
func TestMain(m *testing.M) {
	if handle, ok := os.LookupEnv(AskpassVariable); ok && len(os.Args) == 2 {
		if err := Askpass(handle, os.Args[1], os.Stdout); err != nil {
			githosttest.Exit(1)
		}
		githosttest.Exit(0)
	}
	if strings.HasPrefix(filepath.Base(os.Args[0]), "fakego") {
		fakeGo(os.Args[1:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func fakeGo(args []string) {
	switch args[0] {
	case "environ":
		fmt.Print(surroundings())
	case "env": // whose output is a path to its caller
		_ = os.WriteFile(filepath.Join(os.Getenv("GOMODCACHE"), "environ"), []byte(surroundings()), 0o600)
	case "family": // start a child of our own, note both, and wait
		self, _ := os.Executable()
		c := exec.Command(self, "wait", "x")
		c.Args[0] = os.Args[0]
		if err := c.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		text := fmt.Sprintf("%d %d", os.Getpid(), c.Process.Pid)
		_ = os.WriteFile(args[2]+".draft", []byte(text), 0o600)
		_ = os.Rename(args[2]+".draft", args[2])
		time.Sleep(time.Hour)
	case "wait":
		time.Sleep(time.Hour)
	case "flood":
		for range childOutput>>10 + 1 {
			fmt.Print(strings.Repeat("x", 1<<10))
		}
	}
}

// surroundings are the environment, and what is in the folders.
func surroundings() string {
	var b strings.Builder
	for _, kv := range os.Environ() {
		fmt.Fprintln(&b, kv)
	}
	work, _ := os.Getwd()
	for _, dir := range []string{work, os.Getenv("HOME")} {
		_ = filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				fmt.Fprintln(&b, "file", strings.TrimPrefix(name, dir))
			}
			return nil
		})
	}
	return b.String()
}

// newFake makes a Direct whose go command is the test binary.
func newFake(t *testing.T, change func(*DirectOptions)) *Direct {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	fake := filepath.Join(t.TempDir(), "fakego")
	if err := os.Symlink(self, fake); err != nil {
		t.Fatal(err)
	}
	return newTestDirect(t, githosttest.New(t), func(o *DirectOptions) {
		o.Go = fake
		if change != nil {
			change(o)
		}
	})
}

func TestChildOutputCapped(t *testing.T) {
	t.Parallel()
	d := newFake(t, nil)
	_, err := d.run(t.Context(), child{tool: d.opts.Go, args: []string{"flood", "x"}})
	if err == nil || !strings.Contains(err.Error(), "more than 8 MiB") {
		t.Errorf("got %v, want an error about 8 MiB", err)
	}
}

// TestChildKilled ends the request while the child and a child of its own are at work.
func TestChildKilled(t *testing.T) {
	t.Parallel()
	d := newFake(t, nil)
	reason := errors.New("the last client left")
	ctx, cancel := context.WithCancelCause(t.Context())
	note := filepath.Join(t.TempDir(), "pids")
	failed := make(chan error)
	go func() { // ends with ctx
		_, err := d.run(ctx, child{tool: d.opts.Go, args: []string{"family", "x", note}, origin: true})
		failed <- err
	}()
	var first, second int
	for {
		if text, err := os.ReadFile(note); err == nil {
			fmt.Sscan(string(text), &first, &second)
			break
		}
		select {
		case err := <-failed:
			t.Fatalf("child ended early: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel(reason)
	if err := <-failed; !errors.Is(err, reason) {
		t.Errorf("got %v, want it to say %q", err, reason)
	}
	for _, pid := range []int{first, second} {
		if running(pid) {
			t.Errorf("process %d of %d and %d still runs", pid, first, second)
		}
	}
	if left, _ := os.ReadDir(d.opts.TempDir); len(left) != 0 {
		t.Errorf("temporary folders stay: %v", left)
	}
}

func TestChildrenLimited(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	tunnel, err := NewTunnel(TunnelOptions{MaxChildren: 1, Lookup: host.Lookup, Dial: host.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tunnel.Close() })
	d := newFake(t, func(o *DirectOptions) { o.Tunnel = tunnel })
	if err := tunnel.slots.Acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := d.run(ctx, child{tool: d.opts.Go, args: []string{"environ", "x"}, origin: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with all slots taken: got %v, want the end of ctx", err)
	}
	tunnel.slots.Release(1)
	if _, err := d.run(t.Context(), child{tool: d.opts.Go, args: []string{"environ", "x"}, origin: true}); err != nil {
		t.Errorf("with a slot free: %v", err)
	}
}

func TestSweepBoxes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now()
	for name, age := range map[string]time.Duration{"go-old": 25 * time.Hour, "go-new": time.Hour, "other": 25 * time.Hour} {
		box := filepath.Join(dir, name)
		if err := os.Mkdir(box, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(box, now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	sweepBoxes(dir, now)
	left, _ := os.ReadDir(dir)
	var names []string
	for _, entry := range left {
		names = append(names, entry.Name())
	}
	if diff := cmp.Diff([]string{"go-new", "other"}, names); diff != "" {
		t.Errorf("folders left (-want +got):\n%s", diff)
	}
}
