package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/mirror"
	"github.com/gomirror/gomirror/serve/upstream"
)

// hinted is an error that knows the next step.
type hinted struct {
	error
	hint string
}

func (e hinted) Hint() string { return e.hint }

func TestErrorStatus(t *testing.T) {
	key, err := cache.ParseKey(zipName)
	if err != nil {
		t.Fatal(err)
	}
	answers := func(code int) error { return &upstream.StatusError{Upstream: "up", URL: "https://up/x", Code: code} }
	dial := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, tc := range []struct {
		name string
		err  error
		want int
	}{
		{"miss", fs.ErrNotExist, 404},
		{"not found", &mirror.NotFoundError{Key: key, Reason: "x"}, 404},
		{"upstream 404", answers(404), 404},
		{"upstream 410", answers(410), 404},
		{"upstream 401", answers(401), 502},
		{"upstream 403", answers(403), 403},
		{"upstream 429", answers(429), 429},
		{"upstream 451", answers(451), 502},
		{"upstream 500", answers(500), 502},
		{"upstream 503", answers(503), 502},
		{"upstream 508", answers(508), 508},
		{"disk full", &cache.FullError{Dir: "/c", Err: syscall.ENOSPC}, 507},
		{"no connection", &url.Error{Op: "Get", URL: "https://up/x", Err: dial}, 504},
		{"no such host", &net.DNSError{Err: "no such host", Name: "up", IsNotFound: true}, 504},
		{"deadline", context.DeadlineExceeded, 504},
		{"i/o time-out", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, 504},
		{"no git", &fs.PathError{Op: "fork/exec", Path: "/usr/bin/git", Err: syscall.ENOENT}, 502},
		{"git not in PATH", exec.ErrNotFound, 502},
		{"invalid", &cache.InvalidError{Key: key, Reason: "not a zip"}, 502},
		{"contradiction", &cache.ContradictionError{Key: key}, 502},
		{"offline", &mirror.OfflineError{Key: key}, 503},
		{"anything else", errors.New("x"), 502},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := statusOf(fmt.Errorf("fetch: %w", tc.err)); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

// TestErrorText checks each text against the rules of the go command: any that it
// would cut or drop is lost to the developer.
func TestErrorText(t *testing.T) {
	long := strings.Repeat("a word and ", 200)
	for _, tc := range []struct {
		name  string
		err   error
		code  int
		want  string // whole text; "" checks the rules only
		lines int
		last  string
	}{
		{"cause and hint", hinted{errors.New("disk full"), "free some space"}, 507, "disk full\ntry: free some space\n", 2, ""},
		{"inner hint", fmt.Errorf("fetch x: %w", hinted{errors.New("no"), "do it"}), 502, "fetch x: no\ntry: do it\n", 2, ""},
		{"fault without hint", errors.New("broken"), 502, "broken\ntry: gomirror doctor\n", 2, ""},
		{"not found without hint", errors.New("no such module"), 404, "no such module\n", 1, ""},
		{"lines kept, blank ones not", errors.New("one\n\n \t\r\ntwo\r\n"), 404, "one\ntwo\n", 2, ""},
		{"colours", errors.New("\x1b[31mred\x1b[0m\tcell"), 404, "?[31mred?[0m cell\n", 1, ""},
		{"not UTF-8", errors.New("a\xffb"), 404, "a?b\n", 1, ""},
		{"graphic", errors.New("naïve \u2192 日本"), 404, "naïve → 日本\n", 1, ""},
		{"direction marks", errors.New("a\u202eb\u200b\u2028c"), 404, "a?b? c\n", 1, ""},
		{"capability", errors.New("http://127.0.0.1:1/t/" + testCapability + "/x"), 404, "http://127.0.0.1:1/t/REDACTED/x\n", 1, ""},
		{"no text", errors.New(""), 404, "\n", 0, ""},
		{"long", hinted{errors.New(long), "the way out"}, 502, "", 8, "try: the way out"},
		{"long, long hint", hinted{errors.New(long), long}, 502, "", 8, ""},
		{"long without spaces", hinted{errors.New(strings.Repeat("日本", 1000)), "the way out"}, 502, "", 8, "try: the way out"},
		{"many lines", errors.New(strings.Repeat("line\n", 100)), 502, "", 8, "try: gomirror doctor"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := string(errorText(tc.err, tc.code))
			if tc.want != "" && got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			lines := strings.Split(strings.TrimRight(got, "\n"), "\n")
			if tc.want == "" && (len(lines) != tc.lines || tc.last != "" && lines[len(lines)-1] != tc.last) {
				t.Errorf("got %d lines, want %d: %q", len(lines), tc.lines, got)
			}
			shown := 0 // as formatErrorDetail adds up
			for i, line := range lines {
				if i > 0 {
					shown += len("\n\t")
					if line == "" {
						t.Errorf("blank line in %q", got)
					}
				}
				shown += len(line)
				for _, r := range line {
					if !unicode.IsGraphic(r) {
						t.Errorf("%q is not graphic", r)
					}
				}
			}
			if shown > 648 || len(lines) > 8 {
				t.Errorf("got %d bytes in %d lines, the go command shows 648 in 8: %q", shown, len(lines), got)
			}
		})
	}
}

// TestGoShowsIt checks the text where it has to arrive.
func TestGoShowsIt(t *testing.T) {
	cause := "fetch example.com/m from https://up.example: " + strings.Repeat("the network is down again and ", 30)
	p := run(t, Options{Get: func(context.Context, cache.Key) (*mirror.Answer, error) {
		return nil, hinted{errors.New(cause), "gomirror status"}
	}})
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "example.com/m@v1.0.0")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY="+strings.TrimSuffix(p.url(""), "/"), "GOMODCACHE="+filepath.Join(dir, "mod"), "GOPATH="+dir,
		"GONOSUMDB=*", "GOFLAGS=-modcacherw", "GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "GOPRIVATE=", "GONOPROXY=")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("got success: %s", out)
	}
	for _, want := range []string{"502 Bad Gateway", "the network is down", "\n\ttry: gomirror status"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("want %q in go's output:\n%s", want, out)
		}
	}
	if bytes.Contains(out, []byte("Truncated")) {
		t.Errorf("go cut the text:\n%s", out)
	}
}

// TestGoDownloads lets the go command read the answers as well.
func TestGoDownloads(t *testing.T) {
	p := run(t, Options{PeerCheck: true})
	p.keep(infoName, []byte(infoBody))
	p.keep(modName, []byte(modBody))
	p.keep(zipName, zipBody(t, 1<<20))
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", "example.com/m@v1.0.0")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY="+strings.TrimSuffix(p.url(""), "/"), "GOMODCACHE="+filepath.Join(dir, "mod"), "GOPATH="+dir,
		"GONOSUMDB=*", "GOFLAGS=-modcacherw", "GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "GOPRIVATE=", "GONOPROXY=")
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte(`"Sum": "h1:`)) {
		t.Errorf("got %v: %s", err, out)
	}
}

func TestPrivateNamesStayOutOfTheLog(t *testing.T) {
	p := run(t, Options{
		Private: func(modPath string) bool { return strings.HasPrefix(modPath, "example.com/secret") },
		Get: func(_ context.Context, key cache.Key) (*mirror.Answer, error) {
			return nil, fmt.Errorf("fetch %s: connection reset", key)
		},
	})
	_, body := p.get("GET", p.url("example.com/secret/@v/list"))
	if !strings.Contains(string(body), "example.com/secret") {
		t.Errorf("got %q: who asks may read the name", body)
	}
	p.get("GET", p.url("example.com/open/@v/list"))
	warned := ""
	for line := range strings.Lines(p.logs.String()) {
		if !strings.Contains(line, "level="+slog.LevelDebug.String()) {
			warned += line
		}
	}
	if strings.Contains(warned, "secret") || !strings.Contains(warned, "key=private") || !strings.Contains(warned, "example.com/open") {
		t.Errorf("got, above debug level: %s", warned)
	}
	if !strings.Contains(p.logs.String(), "example.com/secret") {
		t.Error("the debug log lacks the name")
	}
}

func TestRedact(t *testing.T) {
	secret := "http://127.0.0.1:24000/t/" + testCapability + "/x"
	u, err := url.Parse(secret)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	log := slog.New(RedactHandler(slog.NewTextHandler(&b, nil))).With("with", secret).WithGroup("g")
	log.Info("at "+secret, "string", secret, "err", fmt.Errorf("get %s: no", secret), "url", u,
		slog.Group("in", "deep", secret), "any", struct{ A string }{secret}, "upper", strings.ToUpper(testCapability), "n", 1)
	if got := b.String(); strings.Contains(got, testCapability) || strings.Count(got, "/t/REDACTED") != 7 || !strings.Contains(got, "g.n=1") {
		t.Errorf("got %s", got)
	}
}
