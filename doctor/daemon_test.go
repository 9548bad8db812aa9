//go:build unix

package doctor_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve/daemon"
	"github.com/gomirror/gomirror/serve/proxytest"
)

// pid returns the process of the sidecar.
func (m *machine) pid() (pid int) {
	m.t.Helper()
	text, err := os.ReadFile(m.state("pid"))
	if err == nil {
		_, err = fmt.Sscan(string(text), &pid)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return pid
}

// address returns where the sidecar listens.
func (m *machine) address() string {
	m.t.Helper()
	text, err := os.ReadFile(m.state("address"))
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func TestHealthyMachine(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	m.run("gomirror stop && gomirror serve --background") // what the pull has it fetch ahead ends
	before, fetched := m.tree(), len(m.upstream.Requests())
	reports := m.diagnose("D01 ok", "D02 ok", "D03 ok", "D04 ok", "D06 ok", "S01 ok", "S02 ok", "S03 ok", "A01 skipped", "A05 skipped", "C01 ok")
	if after := m.tree(); after != before {
		t.Errorf("the doctor changed files:\n%s\nwere\n%s", after, before)
	}
	for id, r := range reports {
		for _, f := range r.Findings {
			if f.Text == "" || f.Fix != "" {
				t.Errorf("%s: got %+v", id, f)
			}
		}
	}
	if asked := m.upstream.Requests(); len(asked) != fetched {
		t.Errorf("the doctor made gomirror ask for %q", asked[fetched:])
	}
}

// tree lists what a home folder holds, but for the log.
func (m *machine) tree() string {
	return m.run(`find state/gomirror cache/gomirror -type f ! -name '*.log' ! -name '*.log.gz' -printf '%p %s %m %T@\n' 2>/dev/null | sort; true`)
}

// TestWritesNothing has a home that nobody has used: a doctor leaves it so.
func TestWritesNothing(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	list := func() string { return m.run("find . -printf '%p %s %m\n' | sort") }
	before := list()
	for _, args := range []string{"", "-v", "--json", "example.com/quote@v1.5.2", "--suggest", "--last", "- </dev/null"} {
		m.tryRun("gomirror doctor --offline " + args)
		if after := list(); after != before {
			t.Fatalf("gomirror doctor %s leaves\n%swhere there was\n%s", args, after, before)
		}
	}
}

func TestNotRunning(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.cure("D01", doctor.Fail, "was never started", "gomirror serve --background")
	m.run("gomirror stop")
	m.cure("D01", doctor.Fail, "gomirror does not run", "gomirror serve --background")
	kill(t, m.pid(), syscall.SIGKILL)
	m.await(func() bool { return !m.holds() })
	m.cure("D01", doctor.Fail, "gomirror does not run", "gomirror serve --background")
}

func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

// await asks until yes.
func (m *machine) await(yes func() bool) {
	m.t.Helper()
	for end := time.Now().Add(20 * time.Second); !yes(); {
		if time.Now().After(end) {
			m.t.Fatal("it never came about")
		}
	}
}

func TestHanging(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	m.freeze()
	m.cure("D01", doctor.Fail, "does not answer on its control socket", fmt.Sprintf("kill -9 %d", m.pid()))
}

func TestAddressLost(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	for name, fix := range map[string]string{"address": "--listen 127.0.0.1:0", "capability": "--rotate-url"} {
		m.write(m.state(name), "garbage", 0o600)
		m.cure("D02", doctor.Fail, m.state(name), fix)
		m.write(m.state(name), "garbage", 0o600)
		m.run("gomirror stop")
		m.cure("D01", doctor.Fail, m.state(name), fix)
	}
}

// TestListenTaken has another program where the setting listen wants us.
func TestListenTaken(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	m.run("gomirror config set listen " + l.Addr().String())
	m.cure("D01", doctor.Fail, "another program listens on "+l.Addr().String()+", which the setting listen names",
		"gomirror config set listen 127.0.0.1:0; gomirror serve --background")
	// Another start of ours took it.
	m.run("gomirror stop; gomirror config unset listen")
	m.vars["GOMIRROR_LISTEN"] = l.Addr().String()
	reports := m.diagnose("D01 fail")
	if fix := reports["D01"].Findings[0].Fix; fix != "unset GOMIRROR_LISTEN; gomirror serve --background" {
		t.Errorf("of a variable: got the fix %q", fix)
	}
}

func TestForeignListener(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	m.run("gomirror stop")
	l, err := net.Listen("tcp", m.address())
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 100)
	squatter := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		fmt.Fprint(w, strings.Repeat("0", 64))
	})}
	go squatter.Serve(l) // ends with Close
	t.Cleanup(func() { squatter.Close() })
	reports := m.diagnose("D01 fail", "D02 fail")
	if got := reports["D02"].Findings[0]; !strings.Contains(got.Text, "another program listens on "+m.address()) {
		t.Errorf("D02: got %+v", got)
	}
	if d01, d02 := reports["D01"].Findings[0].Fix, reports["D02"].Findings[0].Fix; d01 != d02 {
		t.Errorf("two cures for one thing: %q and %q", d01, d02)
	}
	for len(asked) > 0 {
		if path := <-asked; path != "/-/hello" {
			t.Errorf("the stranger was told %s", path)
		}
	}
	m.fix(reports["D02"].Findings[0].Fix)
	m.diagnose()
}

func TestListenerGone(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	// As after a restore of the folder from a backup: the sidecar listens elsewhere.
	elsewhere := proxytest.ClosedPort(t)
	m.write(m.state("address"), elsewhere+"\n", 0o600)
	m.cure("D02", doctor.Fail, "nobody listens on "+elsewhere, "gomirror stop; gomirror serve --background")
}

// TestAnswers has a sidecar that proves itself and then answers wrongly, which a real one
// can't be brought to.
func TestAnswers(t *testing.T) {
	tests := []struct {
		name    string
		answer  http.HandlerFunc
		cached  bool
		private []string
		want    doctor.Status
		text    string
	}{
		{"at once", func(w http.ResponseWriter, r *http.Request) {}, true, nil, doctor.OK, "answers in"},
		{"nothing cached", http.NotFound, false, nil, doctor.OK, "answers in"},
		{"all that is cached is private now", http.NotFound, true, []string{"example.com/*"}, doctor.OK, "answers in"},
		{"not found", http.NotFound, true, nil, doctor.Fail, "answers 404 to what it has in its cache"},
		{"broken", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "the cache is on fire\nand so on", http.StatusInternalServerError)
		}, true, nil, doctor.Fail, "answers 500 to what it has in its cache: the cache is on fire"},
		{"cut", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, true, nil, doctor.Fail, "breaks off"},
		{"slow", func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(600 * time.Millisecond):
			case <-r.Context().Done():
			}
		}, true, nil, doctor.Warn, "ms for what it has in its cache"},
		{"stalled", hang, true, nil, doctor.Fail, "does not answer it within 4s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const capability = "/t/0123456789abcdef0123456789abcdef/"
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if path, ok := strings.CutPrefix(r.URL.Path, capability); !ok || test.cached && test.private == nil && path != "example.com/!x/@v/v1.0.0.info" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				test.answer(w, r)
			}))
			t.Cleanup(server.Close)
			dir := t.TempDir()
			if test.cached {
				folder := filepath.Join(dir, "download", "example.com", "!x", "@v")
				if err := errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "v1.0.0.info"), nil, 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			d := doctor.Daemon{URL: server.URL + strings.TrimSuffix(capability, "/"), Proof: daemon.Ours, Running: true}
			d.Status.Private = test.private
			found := runCheck(t, doctor.Options{CacheDir: dir, GOOS: "linux", Daemon: func() doctor.Daemon { return d }}, "D03")
			if len(found) != 1 || found[0].Status != test.want || !strings.Contains(found[0].Text, test.text) || strings.Contains(found[0].Text, "/t/0") {
				t.Errorf("got %+v, want %s %q", found, test.want, test.text)
			}
			if (found[0].Fix == "") != (test.want == doctor.OK) {
				t.Errorf("got the fix %q", found[0].Fix)
			}
		})
	}
}

func TestOldProgram(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	m.copyProgram(m.path("bin", "gomirror"))
	m.cure("D04", doctor.Warn, "has changed since gomirror was started from it", "gomirror stop; gomirror serve --background")

	m.mkdir("old")
	m.run("cp bin/gomirror old/gomirror && gomirror stop && old/gomirror serve --background")
	m.cure("D04", doctor.Warn, "was started from "+m.path("old", "gomirror"), "gomirror stop")
	m.run("gomirror stop && old/gomirror serve --background && rm old/gomirror")
	m.cure("D04", doctor.Warn, "which is gone", "gomirror stop")
}

func TestLoop(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	m.run("gomirror config set upstream 'http://" + m.address() + "," + m.upstream.URL + "|direct'; gomirror stop; gomirror serve --background")
	m.cure("D06", doctor.Fail, "names gomirror's own address", "gomirror config set upstream '"+m.upstream.URL+"|direct'")

	m.run("gomirror config set upstream 'http://localhost:" + strings.Split(m.address(), ":")[1] + "'")
	m.cure("D06", doctor.Fail, "names gomirror's own address", "gomirror config set upstream ")

	m.vars["GOMIRROR_UPSTREAM"] = "http://" + m.address()
	reports := m.diagnose("D06 fail")
	m.fix(reports["D06"].Findings[0].Fix)
	delete(m.vars, "GOMIRROR_UPSTREAM") // as the fix has done in its shell
	m.diagnose()

	m.run("gomirror stop; gomirror serve --background --upstream http://" + m.address())
	m.cure("D06", doctor.Fail, "names gomirror's own address", "gomirror stop; gomirror serve --background")
}
