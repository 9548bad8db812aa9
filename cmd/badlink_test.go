package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/proxytest"
)

// badPulls is how many pulls TestBadLink does where nobody asks for more:
//
//	GOMIRROR_BAD_PULLS=20 go test ./cmd -run BadLink -v
const badPulls = 2

// TestBadLink keeps the promise bad-link against chance: the real go command pulls a
// project while a fifth of the larger bodies is cut anywhere, a tenth of the answers
// is a 503, and one in fifty never comes. Each pull must end, with the same go.sum,
// and with little more sent than on a good link.
func TestBadLink(t *testing.T) {
	pulls := badPulls
	if n := os.Getenv("GOMIRROR_BAD_PULLS"); n != "" {
		var err error
		if pulls, err = strconv.Atoi(n); err != nil {
			t.Fatal(err)
		}
	}
	user := newPuller(t)
	want, good := user.pull("good")
	if len(good.Faults) > 0 || len(want) == 0 {
		t.Fatalf("the good link has faults: %+v", good)
	}
	met := make(map[proxytest.FaultKind]int)
	for i := range pulls {
		seed := uint64(i + 1)
		// The one added last has the first go: a hang before a 503 before a cut.
		user.upstream.Fault("*.zip", proxytest.Fault{Kind: proxytest.Cut, Arg: "random", Chance: 0.2, Over: 64 << 10, Seed: seed})
		user.upstream.Fault("*", proxytest.Fault{Kind: proxytest.Status, Arg: "503 back soon", Chance: 0.1, Seed: seed})
		user.upstream.Fault("*", proxytest.Fault{Kind: proxytest.Hang, Chance: 0.02, Seed: seed})
		sum, bad := user.pull(fmt.Sprint("pull ", i+1))
		user.upstream.Mend()
		if sum != nil && !bytes.Equal(sum, want) {
			t.Errorf("pull %d: go.sum differs:\n%s\nwant\n%s", i+1, sum, want)
		}
		if float64(bad.Sent()) > 1.10*float64(good.Sent()) {
			t.Errorf("pull %d: %d bytes sent, on a good link %d", i+1, bad.Sent(), good.Sent())
		}
		for kind, n := range bad.Faults {
			met[kind] += n
		}
	}
	for _, kind := range []proxytest.FaultKind{proxytest.Cut, proxytest.Status, proxytest.Hang} {
		if met[kind] == 0 {
			t.Errorf("no pull met a %s: %v", kind, met)
		}
	}
}

// puller is a user with a project whose upstream is far from good.
type puller struct {
	t        *testing.T
	home     string
	project  string
	env      []string
	upstream *proxytest.Upstream
}

func newPuller(t *testing.T) *puller {
	t.Helper()
	home := t.TempDir()
	u := proxytest.New(t, proxytest.Options{TLS: true})
	p := &puller{t: t, home: home, project: filepath.Join(home, "project"), upstream: u}
	if err := u.AddForest(p.project, 60, 3); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"PATH", "SYSTEMROOT", "TMPDIR", "TEMP"} {
		if v, ok := os.LookupEnv(name); ok {
			p.env = append(p.env, name+"="+v)
		}
	}
	p.env = append(p.env,
		"HOME="+home, "LOCALAPPDATA="+home, "GORACE=atexit_sleep_ms=0",
		"XDG_CONFIG_HOME="+filepath.Join(home, "config"),
		"XDG_CACHE_HOME="+filepath.Join(home, "cache"),
		"XDG_STATE_HOME="+filepath.Join(home, "state"), "GORACE="+atOnce,
		"GOPATH="+filepath.Join(home, "go"), "GOFLAGS=-modcacherw", "GOTOOLCHAIN=local", "GOTELEMETRY=off",
		"GOPROXY="+u.URL, "GOSUMDB="+u.SumDBKey(), "GOMIRROR_NETWORK_CA_FILE="+u.CAFile)
	return p
}

// pull is a first pull: nothing is cached and nothing is known of the upstream. One
// that fails has no go.sum.
func (p *puller) pull(name string) (goSum []byte, counts proxytest.Counts) {
	p.t.Helper()
	for _, dir := range []string{"cache", "state", "go", "project/go.sum"} {
		if err := os.RemoveAll(filepath.Join(p.home, dir)); err != nil {
			p.t.Fatal(err)
		}
	}
	p.upstream.Forget()
	p.must("gomirror", "serve", "--background")
	defer p.must("gomirror", "stop")
	var shell struct{ Set map[string]string }
	if err := json.Unmarshal(p.must("gomirror", "env", "--json", "--fallback", "off"), &shell); err != nil {
		p.t.Fatal(err)
	}
	env := p.env
	for k, v := range shell.Set {
		env = append(env, k+"="+v)
	}
	start := time.Now()
	_, err := p.run(env, "go", "mod", "download")
	counts = p.upstream.Counts()
	p.t.Logf("%s: %.1f s, %+v", name, time.Since(start).Seconds(), counts)
	if err != nil {
		p.t.Errorf("%s: %v", name, err)
		return nil, counts
	}
	if goSum, err = os.ReadFile(filepath.Join(p.project, "go.sum")); err != nil {
		p.t.Fatal(err)
	}
	return goSum, counts
}

func (p *puller) must(argv ...string) []byte {
	p.t.Helper()
	out, err := p.run(p.env, argv...)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// run runs a program in the project and returns what it prints on stdout.
func (p *puller) run(env []string, argv ...string) ([]byte, error) {
	// No pull takes that long: there are a few hundred requests and the bandwidth of
	// the loopback interface.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	c.Dir, c.Env, c.Stdout, c.Stderr = p.project, env, &stdout, &stderr
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}
