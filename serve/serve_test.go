package serve

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/mirror"
	"github.com/gomirror/gomirror/serve/upstream"
)

const (
	testCapability = "0123456789abcdef0123456789abcdef"
	testPort       = 24000
)

// proxy is a running Server with a cache of its own.
type proxy struct {
	*Server
	t     *testing.T
	addr  string // host:port
	store *cache.Store
	logs  *syncBuffer
	end   func() error // stops the server and returns what Run did
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// run starts a Server on a real socket. Without opts.Get it answers from its store.
func run(t *testing.T, opts Options, changes ...func(*Server)) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return runOn(t, l, opts, changes...)
}

func runOn(t *testing.T, l net.Listener, opts Options, changes ...func(*Server)) *proxy {
	t.Helper()
	store, err := cache.Open(cache.Options{Dir: filepath.Join(t.TempDir(), "cache")})
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, addr: l.Addr().String(), store: store, logs: new(syncBuffer)}
	opts.Capability, opts.Port = testCapability, l.Addr().(*net.TCPAddr).Port
	opts.Log = slog.New(RedactHandler(slog.NewTextHandler(p.logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if opts.Get == nil {
		opts.Get = p.fromStore
	}
	if p.Server, err = New(opts); err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		change(p.Server)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, l) }()
	p.end = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := p.end(); err != nil {
			t.Errorf("run: %v", err)
		}
		store.Close()
	})
	return p
}

// fromStore answers as the mirror does with a warm cache and no upstream.
func (p *proxy) fromStore(_ context.Context, key cache.Key) (*mirror.Answer, error) {
	entry, err := p.store.Get(cache.Public, key)
	if err != nil {
		return nil, err
	}
	return &mirror.Answer{Entry: entry, State: mirror.Hit, Age: 90 * time.Second}, nil
}

// keep puts an answer into the store.
func (p *proxy) keep(name string, body []byte) {
	p.t.Helper()
	key, err := cache.ParseKey(name)
	if err != nil {
		p.t.Fatal(err)
	}
	draft, err := p.store.Draft(cache.Public, key)
	if err != nil {
		p.t.Fatal(err)
	}
	_, err = draft.ReadFrom(bytes.NewReader(body))
	if err == nil {
		err = draft.Check()
	}
	if err == nil {
		err = draft.Commit(cache.Meta{Upstream: "test", Fetched: time.Now()})
	}
	if err != nil {
		p.t.Fatalf("keep %s: %v", name, err)
	}
}

// url returns the address of a key.
func (p *proxy) url(name string) string {
	return "http://" + p.addr + "/t/" + testCapability + "/" + name
}

// get sends one request and returns the answer with its whole body.
func (p *proxy) get(method, url string, header ...string) (*http.Response, []byte) {
	p.t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	resp, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp, body
}

// waitLog waits until a text is in the log.
func (p *proxy) waitLog(text string) {
	p.t.Helper()
	limit := time.After(10 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); !strings.Contains(p.logs.String(), text); {
		select {
		case <-tick.C:
		case <-limit:
			p.t.Fatalf("no %q in the log: %s", text, p.logs)
		}
	}
}

// raw sends bytes and returns the status code of the answer, and all of it.
func (p *proxy) raw(request string) (int, string) {
	p.t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, request)
	answer, err := io.ReadAll(c)
	if err != nil && len(answer) == 0 { // else a reset for what was not read
		p.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	if err != nil {
		p.t.Fatalf("%q: %v", answer, err)
	}
	return resp.StatusCode, string(answer)
}

const (
	infoName = "example.com/m/@v/v1.0.0.info"
	modName  = "example.com/m/@v/v1.0.0.mod"
	zipName  = "example.com/m/@v/v1.0.0.zip"
	infoBody = `{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z"}`
	modBody  = "module example.com/m\n"
)

// zipBody makes a module zip of at least size bytes.
func zipBody(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	noise := make([]byte, size)
	rand.Read(noise)
	for name, content := range map[string][]byte{"go.mod": []byte(modBody), "m.go": []byte("package m\n"), "noise.bin": noise} {
		f, err := w.CreateHeader(&zip.FileHeader{Name: "example.com/m@v1.0.0/" + name, Method: zip.Store})
		if err == nil {
			_, err = f.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestNew(t *testing.T) {
	get := func(context.Context, cache.Key) (*mirror.Answer, error) { return nil, fs.ErrNotExist }
	for _, tc := range []struct {
		name string
		opts Options
		want string
	}{
		{"no capability", Options{Port: 1, Get: get}, "capability"},
		{"short capability", Options{Capability: "abc", Port: 1, Get: get}, "capability"},
		{"no port", Options{Capability: testCapability, Get: get}, "port"},
		{"no get", Options{Capability: testCapability, Port: 1}, "Get"},
		{"any host", Options{Capability: testCapability, Port: 1, Get: get, AllowHosts: []string{"*"}}, "HOST"},
		{"host with path", Options{Capability: testCapability, Port: 1, Get: get, AllowHosts: []string{"a/b"}}, "HOST"},
		{"no host", Options{Capability: testCapability, Port: 1, Get: get, AllowHosts: []string{""}}, "HOST"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := New(tc.opts); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestAnswer(t *testing.T) {
	p := run(t, Options{})
	zipped := zipBody(t, 1000)
	p.keep(infoName, []byte(infoBody))
	p.keep(modName, []byte(modBody))
	p.keep(zipName, zipped)
	p.keep("example.com/m/@v/list", []byte("v1.0.0\n"))
	p.keep("example.com/m/@latest", []byte(infoBody))
	const forever, revalidate = "private, max-age=31536000, immutable", "private, no-cache"
	for _, tc := range []struct {
		name, contentType, cacheControl string
		body                            []byte
	}{
		{infoName, "application/json", forever, []byte(infoBody)},
		{modName, "text/plain; charset=utf-8", forever, []byte(modBody)},
		{zipName, "application/zip", forever, zipped},
		{"example.com/m/@v/list", "text/plain; charset=utf-8", revalidate, []byte("v1.0.0\n")},
		{"example.com/m/@latest", "application/json", revalidate, []byte(infoBody)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp, body := p.get("GET", p.url(tc.name))
			if resp.StatusCode != 200 || !bytes.Equal(body, tc.body) {
				t.Fatalf("got %s, %d bytes", resp.Status, len(body))
			}
			tag := resp.Header.Get("ETag")
			for name, want := range map[string]string{
				"Content-Type": tc.contentType, "Cache-Control": tc.cacheControl, "X-Cache": "hit", "Age": "90",
				"Content-Length": strconv.Itoa(len(tc.body)), "Warning": "",
			} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
			if zip := tc.name == zipName; zip != (resp.Header.Get("Content-Disposition") == "attachment") {
				t.Errorf("got Content-Disposition %q", resp.Header.Get("Content-Disposition"))
			}
			head, nothing := p.get("HEAD", p.url(tc.name))
			if head.StatusCode != 200 || len(nothing) != 0 || head.ContentLength != int64(len(tc.body)) || head.Header.Get("ETag") != tag {
				t.Errorf("HEAD: got %s, %d of %d bytes", head.Status, len(nothing), head.ContentLength)
			}
			if same, body := p.get("GET", p.url(tc.name), "If-None-Match", tag); tag == "" || same.StatusCode != 304 || len(body) != 0 {
				t.Errorf("If-None-Match %s: got %s", tag, same.Status)
			}
			part, body := p.get("GET", p.url(tc.name), "Range", "bytes=2-4", "If-Range", tag)
			if part.StatusCode != 206 || !bytes.Equal(body, tc.body[2:5]) {
				t.Errorf("Range: got %s, %q", part.Status, body)
			}
			if past, _ := p.get("GET", p.url(tc.name), "Range", "bytes=9999999-"); past.StatusCode != 416 {
				t.Errorf("Range past the end: got %s", past.Status)
			}
		})
	}
	if logs := p.logs.String(); strings.Contains(logs, testCapability) || !strings.Contains(logs, infoName) {
		t.Errorf("got logs %s", logs)
	}
}

func TestStaleSaysSo(t *testing.T) {
	var p *proxy
	p = run(t, Options{Get: func(ctx context.Context, key cache.Key) (*mirror.Answer, error) {
		answer, err := p.fromStore(ctx, key)
		if err == nil {
			answer.State, answer.Cause = mirror.Stale, errors.New("no route")
		}
		return answer, err
	}})
	p.keep("example.com/m/@v/list", []byte("v1.0.0\n"))
	resp, _ := p.get("GET", p.url("example.com/m/@v/list"))
	if got := resp.Header.Get("Warning"); resp.StatusCode != 200 || resp.Header.Get("X-Cache") != "stale" || !strings.HasPrefix(got, "110 ") {
		t.Errorf("got %s, X-Cache %q, Warning %q", resp.Status, resp.Header.Get("X-Cache"), got)
	}
}

func TestKeptNotFound(t *testing.T) {
	p := run(t, Options{})
	key, err := cache.ParseKey("example.com/gone/@v/list")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.store.Negative(cache.Public, key, cache.Meta{Status: 410, Upstream: "up.example", Fetched: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if resp, body := p.get("GET", p.url(key.String())); resp.StatusCode != 410 || !strings.Contains(string(body), "up.example") {
		t.Errorf("got %s, %q", resp.Status, body)
	}
}

// TestPaths checks what is a path of ours. Everything else is the same 404, which
// does not tell a wrong capability from a wrong path.
func TestPaths(t *testing.T) {
	var asked []string
	p := run(t, Options{
		Hello: func(nonce string) string { return "proof of " + nonce },
		SumDB: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "sumdb "+r.URL.Path) }),
		Get: func(_ context.Context, key cache.Key) (*mirror.Answer, error) {
			asked = append(asked, key.String())
			return nil, fs.ErrNotExist
		},
	})
	c := "/t/" + testCapability
	wrong := "/t/" + strings.Repeat("0", 32)
	_, unknown := p.get("GET", "http://"+p.addr+"/nowhere")
	for _, tc := range []struct {
		name, path string
		status     int
		body       string // "" means that of an unknown path
		asked      string
	}{
		{"key", c + "/example.com/m/@v/list", 404, "file does not exist\n", "example.com/m/@v/list"},
		{"escaped exclamation mark", c + "/example.com/%21m/@v/v1.0.0.mod", 404, "file does not exist\n", "example.com/!m/@v/v1.0.0.mod"},
		{"plain exclamation mark", c + "/example.com/!m/@v/v1.0.0.mod", 404, "file does not exist\n", "example.com/!m/@v/v1.0.0.mod"},
		{"query string", c + "/example.com/m/@v/list?x=1", 404, "file does not exist\n", "example.com/m/@v/list"},
		{"sumdb", c + "/sumdb/sum.example/db/lookup/example.com/%21m@v1.0.0", 200, "sumdb /sumdb/sum.example/db/lookup/example.com/!m@v1.0.0", ""},
		{"hello", "/-/hello?n=0a1b", 200, "proof of 0a1b", ""},
		{"root", "/", 404, "", ""},
		{"no capability", "/example.com/m/@v/list", 404, "", ""},
		{"wrong capability", wrong + "/example.com/m/@v/list", 404, "", ""},
		{"wrong capability, impossible path", wrong + "/@", 404, "", ""},
		{"wrong capability, sumdb", wrong + "/sumdb/x/supported", 404, "", ""},
		{"capability alone", c, 404, "", ""},
		{"short capability", c[:34] + "/example.com/m/@v/list", 404, "", ""},
		{"long capability", c + "0/example.com/m/@v/list", 404, "", ""},
		{"upper case capability", strings.ToUpper(c) + "/example.com/m/@v/list", 404, "", ""},
		{"encoded slash", c + "/example.com%2Fm/@v/list", 404, "", ""},
		{"encoded slash after the capability", c + "%2fexample.com/m/@v/list", 404, "", ""},
		{"encoded dots", c + "/example.com/%2e%2e/m/@v/list", 404, "", ""},
		{"encoded dot in a version", c + "/example.com/m/@v/v1%2E0.0.mod", 404, "", ""},
		{"encoded slash below sumdb", c + "/sumdb%2fx/supported", 404, "", ""},
		{"hello without nonce", "/-/hello", 404, "", ""},
		{"hello with a long nonce", "/-/hello?n=" + strings.Repeat("a", 65), 404, "", ""},
		{"hello with no hex", "/-/hello?n=xyz", 404, "", ""},
		{"hello below", "/-/hello/?n=00", 404, "", ""},
		{"status is not on TCP", "/-/status", 404, "", ""},
		{"dots", c + "/example.com/../m/@v/list", 404, "malformed", ""},
		{"two slashes", c + "//example.com/m/@v/list", 404, "malformed", ""},
		{"encoded twice", c + "/example.com/%2521m/@v/list", 404, "malformed", ""},
		{"NUL", c + "/example.com/m%00/@v/list", 404, "malformed", ""},
		{"backslash", c + "/example.com/m%5C/@v/list", 404, "malformed", ""},
		{"no module file", c + "/example.com/m/@v/v1.0.0.exe", 404, "want list", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked = nil
			status, answer := p.raw("GET " + tc.path + " HTTP/1.1\r\nHost: " + p.addr + "\r\nConnection: close\r\n\r\n")
			_, body, _ := strings.Cut(answer, "\r\n\r\n")
			if tc.body == "" {
				if body != string(unknown) {
					t.Errorf("got %q, want as of an unknown path: %q", body, unknown)
				}
			} else if !strings.Contains(body, tc.body) {
				t.Errorf("got %q, want %q in it", body, tc.body)
			}
			if got := strings.Join(asked, " "); status != tc.status || got != tc.asked {
				t.Errorf("got %d and asked for %q; want %d and %q", status, got, tc.status, tc.asked)
			}
		})
	}
}

func TestLoop(t *testing.T) {
	calls := 0
	p := run(t, Options{HopID: "abc", Get: func(context.Context, cache.Key) (*mirror.Answer, error) {
		calls++
		return nil, fs.ErrNotExist
	}})
	for _, tc := range []struct {
		hops   []string
		status int
	}{
		{[]string{"abc"}, 508}, {[]string{"x, abc"}, 508}, {[]string{"x,abc ,y"}, 508}, {[]string{"x", "abc"}, 508},
		{[]string{"xabc"}, 404}, {[]string{"ab, c"}, 404}, {nil, 404},
	} {
		calls = 0
		var header []string
		for _, h := range tc.hops {
			header = append(header, upstream.HopHeader, h)
		}
		resp, body := p.get("GET", p.url(infoName), header...)
		if asked := calls > 0; resp.StatusCode != tc.status || asked != (tc.status == 404) {
			t.Errorf("%q: got %s and %d calls, want %d: %s", tc.hops, resp.Status, calls, tc.status, body)
		}
	}
}

func TestPanic(t *testing.T) {
	p := run(t, Options{Get: func(_ context.Context, key cache.Key) (*mirror.Answer, error) {
		if key.Kind() == cache.Mod {
			panic(http.ErrAbortHandler)
		}
		panic("lost at http://127.0.0.1:1/t/" + testCapability + "/x")
	}})
	for range 20 {
		resp, body := p.get("GET", p.url(infoName))
		if resp.StatusCode != 500 || strings.Contains(string(body), "lost") {
			t.Fatalf("got %s, %q", resp.Status, body)
		}
	}
	if resp, err := http.Get(p.url(modName)); err == nil {
		t.Errorf("abort: got %s, want a cut connection", resp.Status)
	}
	if got := p.Stats().Panics; got != 20 {
		t.Errorf("counted %d panics, want 20", got)
	}
	logs := p.logs.String()
	if strings.Contains(logs, testCapability) || strings.Count(logs, "/t/REDACTED") != 20 || !strings.Contains(logs, "serve_test.go") {
		t.Errorf("want stacks and no capability in the log: %.3000s", logs)
	}
}

// TestShortBody checks that an answer that can't be completed never looks complete.
func TestShortBody(t *testing.T) {
	t.Run("before the header", func(t *testing.T) {
		var p *proxy
		p = run(t, Options{Get: func(ctx context.Context, key cache.Key) (*mirror.Answer, error) {
			answer, err := p.fromStore(ctx, key)
			if err == nil {
				err = truncate(p.store.Dir(), "v1.0.0.zip", answer.Size/2)
			}
			return answer, err
		}})
		p.keep(zipName, zipBody(t, 1000))
		if resp, body := p.get("GET", p.url(zipName)); resp.StatusCode != 502 || !strings.Contains(string(body), "from the cache") {
			t.Errorf("got %s, %q", resp.Status, body)
		}
	})
	t.Run("after the header", func(t *testing.T) {
		p := run(t, Options{})
		p.keep(zipName, zipBody(t, largeZip))
		body := p.slowGet()
		if err := truncate(p.store.Dir(), "v1.0.0.zip", largeZip-1000); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, body); err == nil {
			t.Errorf("got %d bytes and a clean end", n)
		}
		p.waitLog("answer cut short")
	})
}

// truncate shortens the one file of that name below dir.
func truncate(dir, name string, size int64) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == name && !d.IsDir() {
			err = os.Truncate(path, size)
		}
		return err
	})
}

func TestClientGone(t *testing.T) {
	asked, left := make(chan bool), make(chan bool)
	p := run(t, Options{Get: func(ctx context.Context, _ cache.Key) (*mirror.Answer, error) {
		close(asked)
		<-ctx.Done()
		close(left)
		return nil, ctx.Err()
	}})
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "GET /t/%s/%s HTTP/1.1\r\nHost: %s\r\n\r\n", testCapability, infoName, p.addr)
	<-asked
	c.Close()
	<-left
	if err := p.end(); err != nil {
		t.Error(err)
	}
	if logs := p.logs.String(); strings.Contains(logs, "failed") {
		t.Errorf("got logs %s", logs)
	}
}

// largeZip is more than the kernel buffers of a connection.
const largeZip = 12 << 20

// slowGet asks for the zip and reads the header of the answer.
func (p *proxy) slowGet() (body io.Reader) {
	p.t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET /t/%s/%s HTTP/1.1\r\nHost: %s\r\n\r\n", testCapability, zipName, p.addr)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.Body
}

func TestSlowClient(t *testing.T) {
	p := run(t, Options{}, func(s *Server) { s.stall = 700 * time.Millisecond })
	zipped := zipBody(t, largeZip)
	p.keep(zipName, zipped)
	start := time.Now()
	body := p.slowGet()
	var got bytes.Buffer
	var err error
	for pace := time.NewTicker(70 * time.Millisecond); err == nil; <-pace.C {
		_, err = io.CopyN(&got, body, 512<<10)
	}
	if err != io.EOF || !bytes.Equal(got.Bytes(), zipped) {
		t.Errorf("got %d of %d bytes, %v", got.Len(), len(zipped), err)
	}
	if took := time.Since(start); took < 2*p.stall {
		t.Errorf("took %v: the client was not slow", took)
	}
}

func TestStalledClient(t *testing.T) {
	p := run(t, Options{}, func(s *Server) { s.stall = 300 * time.Millisecond })
	p.keep(zipName, zipBody(t, largeZip))
	body := p.slowGet()
	p.waitLog("client took no more")
	if n, err := io.Copy(io.Discard, body); err == nil {
		t.Errorf("got %d bytes and a clean end", n)
	}
}

// TestManyIdleConnections checks that connections that never finish a request cost
// the others nothing.
func TestManyIdleConnections(t *testing.T) {
	p := run(t, Options{})
	p.keep(infoName, []byte(infoBody))
	for range 300 {
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET /t/")
	}
	start := time.Now()
	if resp, _ := p.get("GET", p.url(infoName)); resp.StatusCode != 200 {
		t.Errorf("got %s", resp.Status)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("took %v among idle connections", took)
	}
	// The limit, and the slack that net/http allows.
	if status, _ := p.raw("GET / HTTP/1.1\r\nHost: " + p.addr + "\r\nX: " + strings.Repeat("x", headerBytes+4096)); status != 431 {
		t.Errorf("large header: got %d, want 431", status)
	}
}

func TestStop(t *testing.T) {
	asked, release := make(chan bool), make(chan bool)
	p := run(t, Options{Get: func(context.Context, cache.Key) (*mirror.Answer, error) {
		close(asked)
		<-release
		return nil, fs.ErrNotExist
	}})
	answered := make(chan int)
	go func() {
		resp, err := http.Get(p.url(infoName))
		if err != nil {
			t.Error(err)
			close(answered)
			return
		}
		resp.Body.Close()
		answered <- resp.StatusCode
	}()
	<-asked
	ended := make(chan error)
	go func() { ended <- p.end() }()
	for { // until the listener is closed
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			break
		}
		c.Close()
	}
	close(release)
	if status := <-answered; status != 404 {
		t.Errorf("running request: got %d, want its answer", status)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
