package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/proxytest"
)

// coldLab is what the cells of one benchmark share.
type coldLab struct {
	dir      string
	program  string
	projects map[string]*coldProject
	nowhere  *nowhere
}

// coldProject is a set with its upstream.
type coldProject struct {
	*proxytest.Project
	lab      *coldLab
	upstream *proxytest.Upstream
	goSum    string
	tree     string // a file:// tree, once it is asked for
	patience time.Duration
	runs     int
}

func newColdLab(b *testing.B) *coldLab {
	b.Helper()
	lab := &coldLab{dir: b.TempDir(), program: *coldProgram, projects: make(map[string]*coldProject), nowhere: newNowhere(b)}
	if lab.program == "" {
		lab.program = filepath.Join(lab.dir, "gomirror")
		// Not the test's own binary: it may be instrumented, and is no gomirror.
		if out, err := exec.Command("go", "build", "-o", lab.program, "..").CombinedOutput(); err != nil {
			b.Fatalf("build gomirror: %v\n%s", err, out)
		}
	}
	return lab
}

// project makes a set when a cell first wants it, before any clock runs.
func (l *coldLab) project(b *testing.B, set string) *coldProject {
	b.Helper()
	if p := l.projects[set]; p != nil {
		return p
	}
	made, err := proxytest.NewProject(set, 1)
	if err != nil {
		b.Fatal(err)
	}
	if err := made.Build(); err != nil {
		b.Fatal(err)
	}
	u, err := proxytest.Start(proxytest.Options{TLS: true, Dir: l.mkdir(b, set), Database: made.Database})
	if err != nil {
		b.Fatal(err)
	}
	// The upstream lives as long as the process: cells of later benchmarks ask it too.
	u.AddProject(made)
	p := &coldProject{Project: made, lab: l, upstream: u, patience: goPatience}
	p.goSum = p.pull(b, coldCell{set: set, cmd: "tidy", procs: 2}).goSum
	l.projects[set] = p
	return p
}

func (l *coldLab) mkdir(b *testing.B, name string) string {
	b.Helper()
	dir := filepath.Join(l.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	return dir
}

// environ is that of a user who has just logged in, whose GOPROXY is the upstream.
func (p *coldProject) environ(home string, c coldCell) []string {
	goproxy := p.upstream.URL
	if coldWorks()[c.cmd].chain {
		goproxy += ",direct"
	}
	return []string{
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(),
		"HOME=" + home, "XDG_CONFIG_HOME=" + home + "/config", "XDG_CACHE_HOME=" + home + "/cache", "XDG_STATE_HOME=" + home + "/state",
		"GOPATH=" + home + "/go", "GOCACHE=" + home + "/gocache", "GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "GOTELEMETRY=off",
		"GOFLAGS=-mod=mod -modcacherw", "GOMAXPROCS=" + strconv.Itoa(c.procs),
		"GOPROXY=" + goproxy, "GOSUMDB=" + p.upstream.SumDBKey(), "SSL_CERT_FILE=" + p.upstream.CAFile,
		// Loopback hosts are reached without it.
		"HTTPS_PROXY=" + p.lab.nowhere.url, "HTTP_PROXY=" + p.lab.nowhere.url,
	}
}

// pull runs the command of a cell without gomirror.
func (p *coldProject) pull(b *testing.B, c coldCell) coldRun {
	b.Helper()
	home := p.newHome(b)
	r, err := p.run(b, c, home, p.environ(home, c))
	if err != nil {
		b.Fatal(err)
	}
	p.account(b, c, "plain", &r)
	return r
}

// pullFromTree runs it against a file:// tree. Nothing checks a database: what is in
// go.sum is checked against that.
func (p *coldProject) pullFromTree(b *testing.B, c coldCell) coldRun {
	b.Helper()
	if p.tree == "" {
		p.tree = filepath.Join(p.lab.dir, "tree"+c.set)
		if err := p.WriteTree(p.tree); err != nil {
			b.Fatal(err)
		}
	}
	home := p.newHome(b)
	r, err := p.run(b, c, home, append(p.environ(home, c), "GOPROXY=file://"+filepath.ToSlash(p.tree)))
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func (p *coldProject) newHome(b *testing.B) string {
	b.Helper()
	p.runs++
	// Short names: the path of a socket has little room.
	home, err := os.MkdirTemp("", fmt.Sprintf("cold%d-", p.runs))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(home) })
	return home
}

// goPatience ends a go command that waits for what never comes: it has no time-out.
// The slowest of a sound link takes half of it.
const goPatience = 10 * time.Minute

// run runs the command of a cell in a fresh clone and reads what came of it.
func (p *coldProject) run(b *testing.B, c coldCell, home string, environ []string) (coldRun, error) {
	b.Helper()
	clone := filepath.Join(home, "clone")
	if err := p.WriteMain(clone); err != nil {
		b.Fatal(err)
	}
	work := coldWorks()[c.cmd]
	if work.sums {
		if err := os.WriteFile(filepath.Join(clone, "go.sum"), []byte(p.goSum), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	// What earlier runs wrote must not reach the disk in this one's time.
	syncDisks()
	p.upstream.Forget()
	p.lab.nowhere.asked.Store(0)
	ctx, cancel := context.WithTimeout(b.Context(), p.patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", work.args...)
	cmd.Dir, cmd.Env = clone, environ
	start := time.Now()
	out, err := cmd.CombinedOutput()
	r := coldRun{seconds: time.Since(start).Seconds(), direct: int(p.lab.nowhere.asked.Load())}
	if err != nil {
		return r, fmt.Errorf("go %s: %w\n%s", strings.Join(work.args, " "), err, tail(out))
	}
	r.goMod, r.goSum = contents(b, clone, "go.mod"), contents(b, clone, "go.sum")
	r.hashes, err = zipHashes(filepath.Join(home, "go/pkg/mod/cache/download"))
	return r, err
}

func tail(out []byte) []byte { return out[max(0, len(out)-2000):] }

func contents(b *testing.B, dir, name string) string {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.Fatal(err)
	}
	return string(text)
}

// zipHashes reads the hashes of all zips that the go command has found sound.
func zipHashes(dir string) (map[string]string, error) {
	hashes := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".ziphash" {
			return err
		}
		hash, err := os.ReadFile(name)
		hashes[strings.TrimPrefix(name, dir)] = string(hash)
		return err
	})
	return hashes, err
}

// account adds what the upstream has seen of a run. What is fetched ahead goes on for
// a while after the go command has ended: bytes nobody asked for count.
func (p *coldProject) account(b *testing.B, c coldCell, side string, r *coldRun) {
	for range 30 {
		before := p.upstream.Counts().Sent()
		select {
		case <-time.After(time.Second / 2):
		case <-b.Context().Done():
		}
		if side == "plain" || p.upstream.Counts().Sent() == before {
			break
		}
	}
	n := p.upstream.Counts()
	r.requests, r.inFlight, r.trips, r.bytes = n.Requests, n.InFlight, n.RoundTrips, n.Sent()
	if *coldRaw {
		b.Logf("%s %s: %.2f s, %d requests, %d round trips, %d in flight, %v bytes", c.name(), side, r.seconds, n.Requests, n.RoundTrips, n.InFlight, n.Bytes)
	}
}

// coldMirror is a gomirror that runs.
type coldMirror struct {
	p      *coldProject
	c      coldCell
	home   string
	cmd    *exec.Cmd
	goVars []string // what gomirror env says
}

// pullThroughGomirror runs the command of a cell with a gomirror that is new.
func (p *coldProject) pullThroughGomirror(b *testing.B, c coldCell) coldRun {
	b.Helper()
	m := p.startGomirror(b, c)
	r := m.pull(b, c)
	m.stop(b, &r)
	return r
}

func (p *coldProject) startGomirror(b *testing.B, c coldCell) *coldMirror {
	b.Helper()
	m := &coldMirror{p: p, c: c, home: p.newHome(b)}
	environ := p.environ(m.home, c)
	m.cmd = exec.Command(p.lab.program, "serve")
	m.cmd.Env = environ
	log, err := os.Create(filepath.Join(m.home, "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close() // the child has its own
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := m.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.cmd.Process.Kill() })
	deadline := time.Now().Add(30 * time.Second)
	for {
		var doc statusDoc
		if err := m.ask(&doc, "status", "--json"); err == nil && doc.Running {
			break
		}
		if time.Now().After(deadline) {
			b.Fatalf("gomirror does not answer: %s", contents(b, m.home, "log"))
		}
	}
	var vars envDoc
	if err := m.ask(&vars, "env", "--shell", "json"); err != nil {
		b.Fatal(err)
	}
	for name, value := range vars.Set {
		m.goVars = append(m.goVars, name+"="+value)
	}
	return m
}

// ask runs gomirror and reads the document it prints.
func (m *coldMirror) ask(doc any, args ...string) error {
	cmd := exec.Command(m.p.lab.program, args...)
	cmd.Env = m.cmd.Env
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	return json.Unmarshal(out, doc)
}

// pull runs the command of a cell with a home of its own.
func (m *coldMirror) pull(b *testing.B, c coldCell) coldRun {
	b.Helper()
	r, err := m.tryPull(b, c)
	if err != nil {
		b.Fatalf("%v\n%s", err, tail([]byte(contents(b, m.home, "log"))))
	}
	return r
}

func (m *coldMirror) tryPull(b *testing.B, c coldCell) (coldRun, error) {
	home := m.p.newHome(b)
	r, err := m.p.run(b, c, home, append(m.p.environ(home, c), m.goVars...))
	m.p.account(b, c, "gomirror", &r)
	return r, err
}

// stop ends gomirror and adds to r what it cost.
func (m *coldMirror) stop(b *testing.B, r *coldRun) {
	b.Helper()
	var doc statusDoc
	if err := m.ask(&doc, "status", "--json"); err != nil {
		b.Fatal(err)
	}
	// All that nobody has asked for when the command has ended: status waits longer
	// before it calls that wasted.
	r.wasted = doc.Prefetch.FetchedBytes - doc.Prefetch.UsedBytes
	r.rss, r.cpu = processCost(m.cmd.Process.Pid)
	m.cmd.Process.Signal(syscall.SIGTERM)
	m.cmd.Wait()
}

// processCost reads the peak memory and the processor seconds of a process where
// /proc shows them.
func processCost(pid int) (rss int64, cpu float64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			fmt.Sscanf(rest, "%d", &rss)
		}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return rss << 10, 0
	}
	// utime and stime are the 14th and 15th field, in hundredths of a second; the
	// second is in brackets and may hold spaces.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return rss << 10, (user + system) / 100
}

func syncDisks() {
	if runtime.GOOS != "windows" {
		exec.Command("sync").Run()
	}
}

// nowhere is an HTTP proxy that reaches nobody: who asks the origin of a module
// learns soon that it is not there, and is counted.
type nowhere struct {
	url   string
	asked atomic.Int64
}

func newNowhere(b *testing.B) *nowhere {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	n := &nowhere{url: "http://" + ln.Addr().String()}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.asked.Add(1)
		http.Error(w, "no such host", http.StatusBadGateway)
	})}
	go srv.Serve(ln) // ends by Close
	b.Cleanup(func() { srv.Close() })
	return n
}
