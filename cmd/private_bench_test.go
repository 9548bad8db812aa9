package cmd

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/githosttest"
)

// privateRounds is how often each step is done, on either side in turns; the median
// counts.
const privateRounds = 7

// BenchmarkPrivate compares private pulls through gomirror with GOPROXY=direct and a
// credential helper, in one run. The delay is what the host takes for each request:
// that of github.com is nearer to the second than to the first.
func BenchmarkPrivate(b *testing.B) {
	for _, delay := range []time.Duration{0, 50 * time.Millisecond} {
		b.Run("delay="+delay.String(), func(b *testing.B) {
			lab := newPrivateLab(b, delay)
			for b.Loop() {
				lab.measure(b)
			}
		})
	}
}

const privateToken = "ghp_bench0123456789bench0123456789benc"

// privateLab is a private host with gomirror and a plain user before it.
type privateLab struct {
	host    *githosttest.Host
	dir     string
	plain   []string // environments
	through []string
	made    int
}

func newPrivateLab(b *testing.B, delay time.Duration) *privateLab {
	b.Helper()
	// Short names: the path of a socket has little room.
	dir, err := os.MkdirTemp("", "priv-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	l := &privateLab{host: githosttest.New(b), dir: dir}
	l.host.Private("github.com/acme")
	l.host.Account(privateToken, githosttest.Account{Login: "ann", Sees: []string{"github.com/acme"}})
	l.host.Intercept(func(http.ResponseWriter, *http.Request) bool {
		time.Sleep(delay)
		return false
	})
	program := benchProgram(b, dir)
	helper := filepath.Join(dir, "helper")
	script := "#!/bin/sh\necho username=ann\necho password=" + privateToken + "\n"
	if err := os.WriteFile(helper, []byte(script), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".gitconfig"), []byte("[credential]\n\thelper = "+helper+"\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	l.plain = []string{
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, "HOME=" + dir,
		"XDG_CONFIG_HOME=" + dir + "/config", "XDG_CACHE_HOME=" + dir + "/cache", "XDG_STATE_HOME=" + dir + "/state",
		"GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "GOTELEMETRY=off", "GOFLAGS=-modcacherw",
		"GOPROXY=direct", "GOPRIVATE=github.com/acme", "HTTPS_PROXY=" + l.host.Proxy(b),
		"GIT_CONFIG_NOSYSTEM=1", "SSL_CERT_FILE=" + l.host.CAFile, "GIT_SSL_CAINFO=" + l.host.CAFile,
	}
	l.through = l.start(b, program, tokenVariable+"="+privateToken)
	return l
}

// benchProgram is the gomirror to measure.
func benchProgram(b *testing.B, dir string) string {
	b.Helper()
	if *coldProgram != "" {
		return *coldProgram
	}
	program := filepath.Join(dir, "gomirror")
	if out, err := exec.Command("go", "build", "-o", program, "..").CombinedOutput(); err != nil {
		b.Fatalf("build gomirror: %v\n%s", err, out)
	}
	return program
}

// start starts a sidecar and returns the environment of a shell that was set up for it.
func (l *privateLab) start(b *testing.B, program string, more ...string) (through []string) {
	b.Helper()
	sidecar := &coldMirror{p: &coldProject{lab: &coldLab{program: program}}}
	sidecar.cmd = exec.Command(program, "serve")
	sidecar.cmd.Env = slices.Concat(l.plain, more)
	if err := sidecar.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		sidecar.cmd.Process.Signal(syscall.SIGTERM)
		sidecar.cmd.Wait()
	})
	for deadline := time.Now().Add(30 * time.Second); ; {
		var doc statusDoc
		if err := sidecar.ask(&doc, "status", "--json"); err == nil && doc.Running {
			break
		}
		if time.Now().After(deadline) {
			b.Fatal("gomirror does not answer")
		}
	}
	var vars envDoc
	if err := sidecar.ask(&vars, "env", "--shell", "json"); err != nil {
		b.Fatal(err)
	}
	through = slices.Clone(l.plain)
	for name, value := range vars.Set {
		through = append(through, name+"="+value)
	}
	// A fault must show: nobody is to go on behind gomirror.
	for i, kv := range through {
		if value, ok := strings.CutPrefix(kv, "GOPROXY="); ok {
			through[i] = "GOPROXY=" + strings.TrimRight(strings.TrimSuffix(value, "direct"), "|,")
		}
	}
	return through
}

// module makes a repository that nobody has asked for yet.
func (l *privateLab) module(b *testing.B) string {
	b.Helper()
	l.made++
	modPath := fmt.Sprintf("github.com/acme/m%d", l.made)
	files := map[string]string{"go.mod": "module " + modPath + "\n"}
	for i := range 50 {
		files[fmt.Sprintf("p%d/p.go", i)] = strings.Repeat("// text of some length\n", 100) + fmt.Sprintf("package p%d\n", i)
	}
	r := l.host.Repo(b, modPath, files, "v1.0.0")
	for i := range 5 {
		r.Commit(b, map[string]string{"a.go": fmt.Sprintf("package m // %d\n", i)}, fmt.Sprintf("v1.%d.0", i+1))
	}
	return modPath
}

// run runs the go command with a module cache and takes the time.
func (l *privateLab) run(b *testing.B, environ []string, cache string, args ...string) time.Duration {
	b.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = l.dir
	cmd.Env = append(slices.Clone(environ), "GOMODCACHE="+filepath.Join(l.dir, cache))
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		b.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return took
}

// measure does each step privateRounds times. The host is warm for both sides, and each
// goes first as often as the other.
func (l *privateLab) measure(b *testing.B) {
	b.Helper()
	took := make(map[string][]time.Duration)
	step := func(name string, d time.Duration) { took[name] = append(took[name], d) }
	for round := range privateRounds {
		modPath := l.module(b)
		caches := []string{fmt.Sprintf("plain%d", l.made), fmt.Sprintf("first%d", l.made), fmt.Sprintf("second%d", l.made)}
		download := []string{"mod", "download", modPath + "@v1.3.0"}
		l.run(b, l.plain, fmt.Sprintf("warm%d", l.made), download...)
		inTurns(round,
			func() { step("plain", l.run(b, l.plain, caches[0], download...)) },
			func() { step("first", l.run(b, l.through, caches[1], download...)) })
		step("second", l.run(b, l.through, caches[2], download...))
		list := []string{"list", "-m", "-versions", modPath}
		l.run(b, l.plain, caches[0], list...) // either side reads the newest go.mod once
		l.run(b, l.through, caches[2], list...)
		time.Sleep(5 * time.Second) // what was listed before has had its time
		inTurns(round,
			func() { step("plain list", l.run(b, l.plain, caches[0], list...)) },
			func() { step("list", l.run(b, l.through, caches[2], list...)) })
		step("list again", l.run(b, l.through, caches[2], list...))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(medianOf(took["plain"])*1000, "plain-ms")
	b.ReportMetric(medianOf(took["plain list"])*1000, "plainlist-ms")
	b.ReportMetric(medianOf(took["first"])/medianOf(took["plain"]), "first")
	b.ReportMetric(medianOf(took["second"])/medianOf(took["plain"]), "second")
	b.ReportMetric(medianOf(took["list"])/medianOf(took["plain list"]), "list")
	b.ReportMetric(medianOf(took["list again"])/medianOf(took["plain list"]), "list-again")
}

// inTurns runs both, in the other order every second round.
func inTurns(round int, first, second func()) {
	if round%2 == 1 {
		first, second = second, first
	}
	first()
	second()
}

// medianOf is in seconds.
func medianOf(took []time.Duration) float64 {
	slices.Sort(took)
	return took[len(took)/2].Seconds()
}
