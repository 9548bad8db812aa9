//go:build unix

package doctor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gomirror/gomirror/cmd"
	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/proxytest"
)

// asGomirror has the test's own program be gomirror.
const asGomirror = "DOCTOR_TEST_GOMIRROR"

// storing has it store a token for the place that the variable names, as a login does
// once GitHub has agreed.
const storing = "DOCTOR_TEST_STORING"

func TestMain(m *testing.M) {
	if owner := os.Getenv(storing); owner != "" {
		store := credential.New(credential.Options{StateDir: os.Getenv("XDG_STATE_HOME") + "/gomirror"})
		place := credential.Place{Host: "github.com", Owner: owner}
		if err := store.Put(context.Background(), place, "ann", credential.NewSecret(canary), len(os.Args) > 1); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(asGomirror) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(cmd.Run(ctx, inLab(cmd.OSEnv())))
	}
	os.Exit(m.Run())
}

// machine is a user with a home folder, go, git and gomirror, and a mirror near by.
type machine struct {
	t        *testing.T
	home     string
	vars     map[string]string
	upstream *proxytest.Upstream
}

// newMachine makes one on which nothing was done yet.
func newMachine(t *testing.T) *machine {
	t.Helper()
	home, err := os.MkdirTemp("", "d") // the path of a socket has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, home: home, upstream: proxytest.New(t, proxytest.Options{Fixtures: true})}
	t.Cleanup(func() { m.removeHome() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m.mkdir("bin")
	if os.Link(self, m.path("bin", "gomirror")) != nil { // much quicker than a copy
		m.copyProgram(self)
	}
	m.vars = map[string]string{
		"PATH": m.path("bin") + ":" + os.Getenv("PATH"), "HOME": home, "LANG": "C.UTF-8", asGomirror: "1",
		"XDG_STATE_HOME": m.path("state"), "XDG_CACHE_HOME": m.path("cache"), "XDG_CONFIG_HOME": m.path("config"), "XDG_DATA_HOME": m.path("data"),
		"GOPATH": m.path("gopath"), "GOENV": m.path("goenv"), "GOFLAGS": "-modcacherw",
		"GOPROXY": m.upstream.URL, "GOSUMDB": m.upstream.SumDBKey(), "GOTOOLCHAIN": "local",
		"DBUS_SESSION_BUS_ADDRESS": "unix:path=" + m.path("nobus"), "GIT_CONFIG_NOSYSTEM": "1",
		"GORACE": "atexit_sleep_ms=0", // each command under the race detector would sleep a second
	}
	return m
}

// removeHome stops what still runs there first.
func (m *machine) removeHome() {
	text, err := os.ReadFile(m.state("pid"))
	if err != nil { // of a user without XDG_STATE_HOME
		text, err = os.ReadFile(m.path(".local", "state", "gomirror", "pid"))
	}
	if err == nil {
		m.tryRun("gomirror stop")
		var pid int
		if _, err := fmt.Sscan(string(text), &pid); err == nil {
			if p, err := os.FindProcess(pid); err == nil && m.holds() {
				p.Kill()
			}
		}
	}
	os.RemoveAll(m.home)
}

// holds reports whether a sidecar of this home still runs.
func (m *machine) holds() bool {
	return strings.Contains(m.tryRun("gomirror status --json"), `"running": true`)
}

func (m *machine) copyProgram(from string) {
	m.t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		draft := m.path("bin", ".new")
		if err = proxytest.WriteProgram(draft, text, 0o700); err == nil {
			err = os.Rename(draft, m.path("bin", "gomirror"))
		}
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) path(names ...string) string {
	return filepath.Join(append([]string{m.home}, names...)...)
}
func (m *machine) state(name string) string { return m.path("state", "gomirror", name) }
func (m *machine) cacheDir() string         { return m.path("cache", "gomirror") }

func (m *machine) mkdir(name string) {
	m.t.Helper()
	if err := os.MkdirAll(m.path(name), 0o700); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) write(path, content string, mode os.FileMode) {
	m.t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(content), mode)
	}
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) environ() (list []string) {
	for name, value := range m.vars {
		list = append(list, name+"="+value)
	}
	return list
}

func (m *machine) command(script string) *exec.Cmd {
	c := exec.Command("sh", "-c", script)
	c.Dir, c.Env = m.home, m.environ()
	return c
}

// run runs a script as the user would type it.
func (m *machine) run(script string) string {
	m.t.Helper()
	var out, said bytes.Buffer
	c := m.command(script)
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		m.t.Fatalf("%s: %v\n%s%s", script, err, out.String(), said.String())
	}
	return out.String()
}

func (m *machine) tryRun(script string) string {
	out, _ := m.command(script).Output() // what failed prints nothing
	return string(out)
}

// fix runs the fix of a finding. Its commands may fail one by one: to stop what does
// not run is an error.
func (m *machine) fix(command string) {
	m.t.Helper()
	if out, err := m.command(command).CombinedOutput(); err != nil {
		m.t.Errorf("the fix %s: %v\n%s", command, err, out)
	}
}

// report is what the doctor says of one check.
type report struct {
	ID       string
	Status   doctor.Status
	Findings []struct {
		Status    doctor.Status
		Text, Fix string
		Detail    []string
	}
}

// said is all that a report has to say.
func (r report) said() string { return fmt.Sprintf("%s %+v", r.Status, r.Findings) }

// mine are the checks of the tests in this file's neighbours.
const mine = "D01,D02,D03,D04,D06,S01,S02,S03,A01,A05,C01,N02"

// doctor runs the command and returns the reports by check.
func (m *machine) doctor() map[string]report {
	m.t.Helper()
	start := time.Now()
	c := m.command("gomirror doctor --json --offline --only " + mine)
	var said bytes.Buffer
	c.Stderr = &said
	out, _ := c.Output() // the exit code says that something is wrong, and so do the reports
	if took := time.Since(start); took > 20*time.Second {
		m.t.Errorf("the doctor took %v", took)
	}
	var doc struct{ Checks []report }
	if err := json.Unmarshal(out, &doc); err != nil {
		m.t.Fatalf("the doctor printed %q, %s: %v", out, said.String(), err)
	}
	reports := map[string]report{}
	for _, r := range doc.Checks {
		reports[r.ID] = r
	}
	return reports
}

// diagnose wants the named checks to end as they are named, "D01 fail", and all others
// not to complain. It returns the reports.
func (m *machine) diagnose(want ...string) map[string]report {
	m.t.Helper()
	reports := m.doctor()
	wanted := map[string]doctor.Status{}
	for _, w := range want {
		id, status, _ := strings.Cut(w, " ")
		wanted[id] = doctor.Status(status)
	}
	for _, id := range slices.Sorted(maps.Keys(reports)) {
		r := reports[id]
		status, named := wanted[id]
		if named && r.Status != status || !named && (r.Status == doctor.Fail || r.Status == doctor.Warn) {
			m.t.Errorf("%s: got %s, want %q", id, r.said(), status)
		}
	}
	return reports
}

// cure has check id complain as status, runs its fix and wants the machine to be well.
func (m *machine) cure(id string, status doctor.Status, text, fix string) {
	m.t.Helper()
	reports := m.diagnose(id + " " + string(status))
	for _, f := range reports[id].Findings {
		if f.Status != status {
			continue
		}
		if !strings.Contains(f.Text, text) || !strings.Contains(f.Fix, fix) {
			m.t.Errorf("%s: got %q, fix %q; want %q, fix %q", id, f.Text, f.Fix, text, fix)
		}
		m.fix(f.Fix)
	}
	m.diagnose()
}

// start starts the sidecar and pulls something through it.
func (m *machine) start() {
	m.t.Helper()
	m.run(`gomirror serve --background && eval "$(gomirror env)" && go mod download example.com/quote@v1.5.2`)
}
