//go:build unix

package doctor_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/doctor"
)

// TestModes opens each place to others, and closes it by the fix.
func TestModes(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.run("gomirror config set prefetch off")
	m.start()
	tests := []struct {
		path string
		mode os.FileMode
		want doctor.Status
		text string
	}{
		{m.path("state", "gomirror"), 0o755, doctor.Warn, "others may read"},
		{m.path("state", "gomirror"), 0o770, doctor.Fail, "others may write to"},
		{m.state("run"), 0o711, doctor.Warn, "others may read"},
		{m.state("run/control.sock"), 0o666, doctor.Fail, "others may write to"},
		{m.state("capability"), 0o644, doctor.Warn, "others may read"},
		{m.state("gomirror.log"), 0o640, doctor.Warn, "others may read"},
		{m.cacheDir(), 0o755, doctor.Warn, "others may read"},
		{m.cacheDir(), 0o777, doctor.Fail, "others may write to"},
		{m.path("config", "gomirror", "config.toml"), 0o644, doctor.Warn, "others may read"},
	}
	for _, test := range tests {
		if err := os.Chmod(test.path, test.mode); err != nil {
			t.Fatal(err)
		}
		m.cure("S01", test.want, fmt.Sprintf("%s %s", test.text, test.path), "chmod ")
	}
	if err := os.Chmod(m.path("state"), 0o777); err != nil {
		t.Fatal(err)
	}
	m.cure("S01", doctor.Fail, "others may write to "+m.path("state"), "chmod go-w")
}

// TestOwner needs a second user, whom root can make up.
func TestOwner(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	if os.Geteuid() != 0 {
		t.Log("only root can give a file away")
		return
	}
	if err := os.Chown(m.state("hello.key"), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	reports := m.diagnose("S01 fail")
	f := reports["S01"].Findings[0]
	if !strings.Contains(f.Text, "belongs to user 12345, and this is root") || !strings.Contains(f.Fix, "without sudo") {
		t.Errorf("got %+v", f)
	}
}

func TestSpace(t *testing.T) {
	t.Parallel()
	const gb = 1 << 30
	roomy := doctor.Space{Kind: "ext4", Total: 100 * gb, Free: 60 * gb, Files: 1e7, Rest: 1e6, Quota: doctor.NoQuota}
	with := func(change func(*doctor.Space)) doctor.Space {
		s := roomy
		change(&s)
		return s
	}
	tests := []struct {
		name  string
		space doctor.Space
		want  doctor.Status
		text  string
	}{
		{"roomy", roomy, doctor.OK, "60.0 GB free of 100.0 GB"},
		{"full", with(func(s *doctor.Space) { s.Free = 199 << 20 }), doctor.Fail, "is full: 199 MB free of 100.0 GB"},
		{"nothing free", with(func(s *doctor.Space) { s.Free = 0 }), doctor.Fail, "is full: 0 MB free"},
		{"under 5 %", with(func(s *doctor.Space) { s.Free = 4 * gb }), doctor.Warn, "is nearly full: 4.0 GB free"},
		{"small, over 5 %", with(func(s *doctor.Space) { s.Total, s.Free = 4*gb, gb/2 }), doctor.Warn, "is nearly full: 512 MB free"},
		{"large, under 5 %", with(func(s *doctor.Space) { s.Total, s.Free = 4000*gb, 50*gb }), doctor.OK, "50.0 GB free"},
		{"no files left", with(func(s *doctor.Space) { s.Rest = 999 }), doctor.Fail, "takes no more than 999 further files"},
		{"few files left", with(func(s *doctor.Space) { s.Rest = 9_999 }), doctor.Warn, "takes no more than 9999 further files"},
		{"files without a limit", with(func(s *doctor.Space) { s.Files, s.Rest = 0, 0 }), doctor.OK, "60.0 GB free"},
		{"quota used up", with(func(s *doctor.Space) { s.Quota = 10 << 20 }), doctor.Fail, "quota on the disk of"},
		{"quota nearly used up", with(func(s *doctor.Space) { s.Quota = 500 << 20 }), doctor.Warn, "quota on the disk of"},
		{"quota", with(func(s *doctor.Space) { s.Quota = 20 * gb }), doctor.OK, "20.0 GB free of 100.0 GB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			o := doctor.Options{
				StateDir: filepath.Join(dir, "state"), CacheDir: filepath.Join(dir, "cache"), GOOS: runtime.GOOS,
				Daemon: func() doctor.Daemon { return doctor.Daemon{} },
				Space:  func(string) (doctor.Space, error) { return test.space, nil },
			}
			found := runCheck(t, o, "S02")
			if len(found) != 1 || found[0].Status != test.want || !strings.Contains(found[0].Text, test.text) {
				t.Errorf("got %+v, want %s %q", found, test.want, test.text)
			}
			if fix := found[0].Fix; test.want != doctor.OK && !strings.Contains(fix, "cache.dir") {
				t.Errorf("got the fix %q", fix)
			}
			// The fix: another disk.
			o.Space = func(string) (doctor.Space, error) { return roomy, nil }
			if found := runCheck(t, o, "S02"); found[0].Status != doctor.OK {
				t.Errorf("on another disk: got %+v", found)
			}
		})
	}
}

// TestStateDisk has two disks, of which that of the state folder is full.
func TestStateDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	found := runCheck(t, doctor.Options{
		StateDir: state, CacheDir: filepath.Join(dir, "cache"), GOOS: runtime.GOOS,
		Daemon: func() doctor.Daemon { return doctor.Daemon{} },
		Space: func(dir string) (doctor.Space, error) {
			if dir == state {
				return doctor.Space{Total: 1 << 30, Quota: doctor.NoQuota}, nil
			}
			return doctor.Space{Total: 2 << 40, Free: 1 << 40, Quota: doctor.NoQuota}, nil
		},
	}, "S02")
	if len(found) != 1 || found[0].Status != doctor.Fail || !strings.Contains(found[0].Fix, "go clean -cache") {
		t.Errorf("got %+v", found)
	}
}

// TestOpenFiles has a process run with a low limit be the sidecar.
func TestOpenFiles(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Log("only Linux tells the limits of another process")
		return
	}
	low := exec.Command("sh", "-c", "ulimit -n 256; exec sleep 600")
	if err := low.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { low.Process.Kill(); low.Wait() })
	dir := t.TempDir()
	d := doctor.Daemon{Running: true}
	d.Status.PID = low.Process.Pid
	o := doctor.Options{StateDir: dir, CacheDir: dir, GOOS: "linux", Daemon: func() doctor.Daemon { return d }}
	var found []doctor.Finding
	for found = runCheck(t, o, "S02"); found[0].Status == doctor.OK; { // until the shell has come so far
		found = runCheck(t, o, "S02")
	}
	if len(found) != 1 || found[0].Status != doctor.Warn || !strings.Contains(found[0].Text, "no more than 256 files open") ||
		found[0].Fix != "gomirror stop; gomirror serve --background" {
		t.Errorf("got %+v", found)
	}
	d.Status.PID = os.Getpid() // as after the fix
	if found := runCheck(t, o, "S02"); found[0].Status != doctor.OK {
		t.Errorf("got %+v", found)
	}
}

// TestRealDisk compares what is told with what df says.
func TestRealDisk(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	reports := m.diagnose("D01 fail", "S02 ok")
	kilobytes := m.run(`df -Pk . | awk 'NR == 2 { print $2 }'`)
	var total float64
	if _, err := fmt.Sscan(kilobytes, &total); err != nil {
		t.Fatal(err)
	}
	if got, want := reports["S02"].Findings[0].Text, fmt.Sprintf("free of %.1f GB", total/(1<<20)); !strings.HasSuffix(got, want) && total > 1<<20 {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestFullDisk has disks of a given size. It needs user namespaces, as the script disk-full does.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	if out, err := m.command("unshare -rm mount -t tmpfs tmpfs /mnt").CombinedOutput(); err != nil {
		t.Fatalf("mount a small disk in a namespace of its own: %v %s", err, out)
	}
	for options, want := range map[string]string{
		"size=100m":               "is full: 100 MB free of 100 MB",
		"size=2000m,nr_inodes=99": "takes no more than 98 further files",
	} {
		m.mkdir("cache")
		out, err := m.command("unshare -rm sh -c 'mount -t tmpfs -o " + options + " tmpfs cache && gomirror doctor --only S02'").CombinedOutput()
		if text := strings.Join(strings.Fields(string(out)), " "); err == nil || !strings.Contains(text, want) {
			t.Errorf("%s: got %s, %v; want %q", options, out, err, want)
		}
		m.run("gomirror doctor --only S02") // on the disk that is there
	}
}

func TestFileSystem(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	if err := os.Chmod(m.path("cache"), 0o777); err != nil {
		t.Fatal(err)
	}
	m.cure("S03", doctor.Fail, "others may write to "+m.path("cache"), "chmod go-w "+m.path("cache"))
	if err := os.Chmod(m.path("cache"), 0o777|os.ModeSticky); err != nil { // sticky: nobody can exchange what is ours
		t.Fatal(err)
	}
	m.diagnose("S03 ok")

	remote := doctor.Space{Kind: "nfs", Remote: true, Total: 1 << 40, Free: 1 << 40, Quota: doctor.NoQuota}
	o := doctor.Options{
		CacheDir: m.cacheDir(), GOOS: runtime.GOOS, Daemon: func() doctor.Daemon { return doctor.Daemon{} },
		Space: func(string) (doctor.Space, error) { return remote, nil },
	}
	if found := runCheck(t, o, "S03"); found[0].Status != doctor.OK || !strings.Contains(found[0].Text, "(nfs), and locks work there") {
		t.Errorf("with locks: got %+v", found)
	}
	remote.ReadOnly = true
	found := runCheck(t, o, "S03")
	if f := found[0]; f.Status != doctor.Fail || f.Text != m.cacheDir()+" is on a file system that is mounted read-only" || !strings.HasPrefix(f.Fix, "gomirror config set cache.dir DIR; ") {
		t.Errorf("read-only: got %+v", found)
	}
	remote.ReadOnly = false
	o.CacheDir = m.path("cache", "none")
	if found := runCheck(t, o, "S03"); found[0].Status != doctor.Warn || !strings.Contains(found[0].Text, "where locks may not hold") {
		t.Errorf("with nothing to lock yet: got %+v", found)
	}
	o.Space = func(string) (doctor.Space, error) {
		return doctor.Space{}, &os.PathError{Op: "statfs", Path: "x", Err: errors.ErrUnsupported}
	}
	for _, id := range []string{"S02", "S03"} {
		if found := runCheck(t, o, id); found[0].Status != doctor.Skipped {
			t.Errorf("%s of a system that tells nothing: got %+v", id, found)
		}
	}
}
