package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/proxytest"
)

// roleEnv makes this test binary play another process.
const roleEnv = "DAEMON_TEST_ROLE"

func TestMain(m *testing.M) {
	var err error
	switch role := os.Getenv(roleEnv); role {
	case "":
		os.Exit(m.Run())
	case "sidecar":
		err = sidecar(os.Args[1])
	case "crash":
		fmt.Println("first line")
		err = errors.New("the cache folder is not writable")
	case "hang":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		fmt.Println("thinking")
		<-ctx.Done()
	case "ask": // as whoever runs us
		var conn net.Conn
		if conn, err = net.Dial("unix", os.Args[1]); err == nil {
			fmt.Fprint(conn, "GET /status HTTP/1.0\r\n\r\n")
			var body []byte
			body, err = io.ReadAll(conn)
			fmt.Printf("%s", body)
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// sidecar is what gomirror serve does with this package.
func sidecar(stateDir string) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	lock, err := Acquire(stateDir)
	if err != nil {
		return err
	}
	defer lock.Release()
	l, err := Address(stateDir, "")
	if err != nil {
		return err
	}
	port := l.Addr().(*net.TCPAddr).Port
	answer, err := Hello(stateDir, port)
	if err != nil {
		return err
	}
	if _, err := Capability(stateDir, false); err != nil {
		return err
	}
	control, err := NewControl(ControlOptions{StateDir: stateDir, Stop: stop,
		Status:   func() any { return map[string]int{"pid": os.Getpid(), "ppid": os.Getppid()} },
		Patterns: func() []string { return []string{"example.com/private"} }})
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, answer(r.URL.Query().Get("n")))
	})}
	go server.Serve(l) // ends with the process
	defer server.Close()
	fmt.Println("listening")
	return control.Run(ctx)
}

// stateDir returns the path of a state folder that does not exist yet, short enough
// for a socket.
func stateDir(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "gm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(parent) })
	return filepath.Join(parent, "state")
}

func acquire(t *testing.T, dir string) *Lock {
	t.Helper()
	lock, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Release() })
	return lock
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// wantHint checks that err says what to do about it.
func wantHint(t *testing.T, err error, text, hint string) {
	t.Helper()
	var h interface{ Hint() string }
	switch {
	case err == nil:
		t.Fatalf("got no error, want one with %q", text)
	case !errors.As(err, &h):
		t.Fatalf("got an error without a hint: %v", err)
	case !strings.Contains(err.Error(), text) || !strings.Contains(h.Hint(), hint):
		t.Errorf("got %q, try %q; want %q, try %q", err, h.Hint(), text, hint)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("got more than one line: %q", err)
	}
}

func TestLockIsForOne(t *testing.T) {
	dir := stateDir(t)
	if Held(dir) {
		t.Error("got held before there is a folder")
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("Held made the folder")
	}
	lock := acquire(t, dir)
	if !Held(dir) {
		t.Error("got free, want held")
	}
	if _, err := Acquire(dir); !errors.Is(err, ErrRunning) {
		t.Errorf("got %v, want ErrRunning", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if Held(dir) {
		t.Error("got held, want free")
	}
	acquire(t, dir)
}

func TestAddressStays(t *testing.T) {
	dir := stateDir(t)
	acquire(t, dir)
	listenOn := func(flag string) string {
		t.Helper()
		l, err := Address(dir, flag)
		if err != nil {
			t.Fatalf("listen %q: %v", flag, err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	first := listenOn("")
	host, port, _ := net.SplitHostPort(first)
	if n, _ := strconv.Atoi(port); host != "127.0.0.1" || n < firstPort || n >= endPort {
		t.Errorf("got %s, want 127.0.0.1 and a port in %d-%d", first, firstPort, endPort)
	}
	if again := listenOn(""); again != first {
		t.Errorf("got %s at the second start, want %s", again, first)
	}
	other := listenOn("127.0.0.1:0")
	if other == first {
		t.Errorf("got %s again, want another port", other)
	}
	if again := listenOn(""); again != other {
		t.Errorf("got %s, want the new port %s kept", again, other)
	}
	if named := listenOn(first); named != first || listenOn("") != first {
		t.Errorf("got %s, want the named port %s kept", named, first)
	}
}

func TestAddressRefused(t *testing.T) {
	for _, flag := range []string{
		"0.0.0.0:24000", "[::]:24000", ":24000", "192.168.1.5:24000", "127.0.0.2:24000", "localhost:24000",
		"[::ffff:127.0.0.1]:24000", "127.0.0.1", "24000", "127.0.0.1:99999", "example.com:80", "127.0.0.1:http",
	} {
		t.Run(flag, func(t *testing.T) {
			dir := stateDir(t)
			acquire(t, dir)
			l, err := Address(dir, flag)
			if err == nil {
				l.Close()
			}
			wantHint(t, err, "listen on "+flag, "--listen 127.0.0.1:0")
		})
	}
}

func TestBusyPort(t *testing.T) {
	dir := stateDir(t)
	acquire(t, dir)
	l, err := Address(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	old, err := Capability(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Address(dir, "") // l is not ours now: it plays the squatter
	_, port, _ := net.SplitHostPort(l.Addr().String())
	wantHint(t, err, "port "+port, "gomirror serve --listen 127.0.0.1:0")
	moved, err := Address(dir, "127.0.0.1:0")
	if err != nil {
		t.Fatalf("another port: %v", err)
	}
	moved.Close()
	l.Close()
	// Shells may have shown the capability to the squatter.
	fresh, err := Capability(dir, false)
	if err != nil || fresh == old {
		t.Errorf("got the old capability (%v), want a new one", err)
	}
	if kept, err := Capability(dir, false); err != nil || kept != fresh {
		t.Errorf("got another capability once more (%v), want it kept", err)
	}
}

func TestCapability(t *testing.T) {
	dir := stateDir(t)
	acquire(t, dir)
	first, err := Capability(dir, false)
	if err != nil || len(first) != 32 || strings.Trim(first, "0123456789abcdef") != "" {
		t.Fatalf("got %q, %v; want 32 hex digits", first, err)
	}
	if again, err := Capability(dir, false); err != nil || again != first {
		t.Errorf("got %q, %v; want it kept: %q", again, err, first)
	}
	rotated, err := Capability(dir, true)
	if err != nil || rotated == first {
		t.Errorf("got %q, %v; want another than %q", rotated, err, first)
	}
	if again, err := Capability(dir, false); err != nil || again != rotated {
		t.Errorf("got %q, %v; want the new one kept: %q", again, err, rotated)
	}
}

func TestCorruptState(t *testing.T) {
	good := strings.Repeat("0a", 16)
	capability := func(dir string) error { _, err := Capability(dir, false); return err }
	helloKey := func(dir string) error { _, err := Hello(dir, 1); return err }
	address := func(dir string) error { _, err := Address(dir, ""); return err }
	for _, tc := range []struct {
		name, file, content string
		use                 func(dir string) error
		hint                string
	}{
		{"empty capability", capabilityFile, "", capability, "--rotate-url"},
		{"short capability", capabilityFile, good[:31] + "\n", capability, "--rotate-url"},
		{"long capability", capabilityFile, good + "00\n", capability, "--rotate-url"},
		{"upper case capability", capabilityFile, strings.ToUpper(good) + "\n", capability, "--rotate-url"},
		{"two lines of capability", capabilityFile, good + "\n" + good + "\n", capability, "--rotate-url"},
		{"zeros after a power cut", capabilityFile, strings.Repeat("\x00", 33), capability, "--rotate-url"},
		{"short key", helloFile, good + "\n", helloKey, helloFile},
		{"garbage address", addressFile, "where?\n", address, "--listen 127.0.0.1:0"},
		{"public address", addressFile, "0.0.0.0:24000\n", address, "--listen 127.0.0.1:0"},
		{"address without port", addressFile, "127.0.0.1:0\n", address, "--listen 127.0.0.1:0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := stateDir(t)
			acquire(t, dir)
			write(t, dir, tc.file, tc.content)
			err := tc.use(dir)
			wantHint(t, err, tc.file, tc.hint)
			if strings.Contains(err.Error(), good[:31]) {
				t.Errorf("the error tells the secret: %v", err)
			}
			if got := read(t, dir, tc.file); got != tc.content {
				t.Errorf("the file was overwritten with %q", got)
			}
		})
	}
	t.Run("the hints mend it", func(t *testing.T) {
		dir := stateDir(t)
		acquire(t, dir)
		write(t, dir, capabilityFile, "?")
		write(t, dir, addressFile, "?")
		if _, err := Capability(dir, true); err != nil {
			t.Error(err)
		}
		l, err := Address(dir, newPort)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if addr, capability, err := Saved(dir); err != nil || addr != l.Addr().String() || len(capability) != 32 {
			t.Errorf("got %q, %d characters, %v", addr, len(capability), err)
		}
	})
}

func TestSavedWritesNothing(t *testing.T) {
	dir := stateDir(t)
	_, _, err := Saved(dir)
	wantHint(t, err, "never started", "gomirror serve --background")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want it to be ErrNotExist", err)
	}
	if _, err := Dial(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v, want ErrNotRunning", err)
	}
	if proof, err := Prove(t.Context(), dir, proxytest.ClosedPort(t)); proof != Closed || err != nil {
		t.Errorf("got %q, %v; want closed", proof, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a question made the state folder")
	}
}

func TestProve(t *testing.T) {
	dir := stateDir(t)
	acquire(t, dir)
	key := "" // as the honest sidecar has it
	serve := func(answer http.HandlerFunc) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: answer}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
		return l.Addr().String()
	}
	capability, err := Capability(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	honest := func(w http.ResponseWriter, r *http.Request) {
		_, port, _ := net.SplitHostPort(r.Host)
		p, _ := strconv.Atoi(port)
		io.WriteString(w, hello(key, r.URL.Query().Get("n"), p)+"\n")
	}
	honestAddr := serve(honest)
	if proof, err := Prove(t.Context(), dir, honestAddr); proof != Foreign || err != nil {
		t.Errorf("before the first start: got %q, %v; want foreign", proof, err)
	}
	if _, err := Hello(dir, 1); err != nil {
		t.Fatal(err)
	}
	if key, err = savedHello(dir); err != nil {
		t.Fatal(err)
	}
	other := strings.Repeat("ab", helloBytes)
	for _, tc := range []struct {
		name string
		addr string
		want Proof
	}{
		{"ours", honestAddr, Ours},
		{"nobody", proxytest.ClosedPort(t), Closed},
		{"another key", serve(func(w http.ResponseWriter, r *http.Request) {
			_, port, _ := net.SplitHostPort(r.Host)
			p, _ := strconv.Atoi(port)
			io.WriteString(w, hello(other, r.URL.Query().Get("n"), p))
		}), Foreign},
		{"passes the question on to us", serve(func(w http.ResponseWriter, r *http.Request) {
			resp, err := http.Get("http://" + honestAddr + r.RequestURI)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			io.Copy(w, resp.Body)
		}), Foreign},
		{"sends us on to us", serve(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+honestAddr+r.RequestURI, http.StatusFound)
		}), Foreign},
		{"answers 200 to all", serve(func(w http.ResponseWriter, r *http.Request) {
			seen = append(seen, r.RequestURI+fmt.Sprint(r.Header))
			fmt.Fprint(w, "{}")
		}), Foreign},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := Prove(t.Context(), dir, tc.addr); got != tc.want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
	if all := strings.Join(seen, " "); len(seen) != 1 || strings.Contains(all, capability) || strings.Contains(all, key) {
		t.Errorf("a foreign listener saw %q", all)
	}
	t.Run("says nothing", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0") // and never accepts
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		start := time.Now()
		if got, err := Prove(t.Context(), dir, l.Addr().String()); got != Foreign || err != nil {
			t.Errorf("got %q, %v; want foreign", got, err)
		}
		if took := time.Since(start); took > 3*proveTime {
			t.Errorf("took %v, want %v", took, proveTime)
		}
	})
}

func TestControl(t *testing.T) {
	dir := stateDir(t)
	lock := acquire(t, dir)
	if err := os.MkdirAll(filepath.Join(dir, runDir), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, runDir), socketFile, "left by one that was killed")
	ctx, stop := context.WithCancel(t.Context())
	control, err := NewControl(ControlOptions{StateDir: dir, Stop: stop,
		Status:   func() any { return map[string]string{"version": "1"} },
		Patterns: func() []string { return []string{"a.example/x", "b.example/*"} }})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := control.Run(ctx)
		lock.Release()
		ended <- err
	}()
	client, err := Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	var status struct{ Version string }
	if err := client.Status(t.Context(), &status); err != nil || status.Version != "1" {
		t.Errorf("got %+v, %v", status, err)
	}
	if got, err := client.Patterns(t.Context()); err != nil || strings.Join(got, " ") != "a.example/x b.example/*" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := client.do(t.Context(), http.MethodGet, "/stop", nil, nil); err == nil || ctx.Err() != nil {
		t.Errorf("GET /stop: got %v, want it refused", err)
	}
	if err := client.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if Held(dir) {
		t.Error("Stop returned with the lock held")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := Dial(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the stop: got %v, want ErrNotRunning", err)
	}
	if err := client.Stop(t.Context()); err == nil {
		t.Error("second stop: got no error")
	}
}

func TestSocketPathTooLong(t *testing.T) {
	dir := filepath.Join(stateDir(t), strings.Repeat("long", 25))
	acquire(t, dir)
	_, err := NewControl(ControlOptions{StateDir: dir})
	wantHint(t, err, "control socket", "XDG_STATE_HOME")
}

// self returns options that start this test binary in a role.
func self(t *testing.T, role, dir string) DetachOptions {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return DetachOptions{Exe: exe, Args: []string{dir}, Env: append(os.Environ(), roleEnv+"="+role),
		StateDir: dir, LogFile: filepath.Join(filepath.Dir(dir), "log")}
}

func stop(t *testing.T, dir string) {
	t.Helper()
	client, err := Dial(dir)
	if err == nil {
		err = client.Stop(t.Context())
	}
	if err != nil {
		t.Error(err)
	}
}

func TestDetach(t *testing.T) {
	dir := stateDir(t)
	addr, err := Detach(t.Context(), self(t, "sidecar", dir))
	if err != nil {
		t.Fatal(err)
	}
	if proof, err := Prove(t.Context(), dir, addr); proof != Ours || err != nil {
		t.Errorf("got %q, %v; want ours", proof, err)
	}
	client, err := Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	var first, second struct{ Pid int }
	if err := client.Status(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	if again, err := Detach(t.Context(), self(t, "sidecar", dir)); err != nil || again != addr {
		t.Errorf("second start: got %q, %v; want %q", again, err, addr)
	}
	if err := client.Status(t.Context(), &second); err != nil || second != first {
		t.Errorf("second start: got %+v, %v; want %+v to go on", second, err, first)
	}
	// A restart finds neither the lock nor the port taken.
	stop(t, dir)
	if again, err := Detach(t.Context(), self(t, "sidecar", dir)); err != nil || again != addr {
		t.Errorf("restart: got %q, %v; want %q", again, err, addr)
	}
	stop(t, dir)
	if log := read(t, filepath.Dir(dir), "log"); !strings.Contains(log, "listening") {
		t.Errorf("got log %q, want what the sidecar printed", log)
	}
}

func TestDetachRace(t *testing.T) {
	dir := stateDir(t)
	const starts = 4
	addrs, errs := make(chan string, starts), make(chan error, starts)
	for range starts {
		go func() {
			addr, err := Detach(t.Context(), self(t, "sidecar", dir))
			addrs <- addr
			errs <- err
		}()
	}
	first := <-addrs
	for range starts - 1 {
		if other := <-addrs; other != first {
			t.Errorf("got addresses %q and %q, want one sidecar", first, other)
		}
	}
	for range starts {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	stop(t, dir)
}

func TestDetachFails(t *testing.T) {
	for _, tc := range []struct {
		name, role string
		exe        string
		wait       time.Duration
		want       []string
	}{
		{name: "child ends", role: "crash", want: []string{"exit status 1", "first line\nthe cache folder is not writable"}},
		{name: "child hangs", role: "hang", wait: 5 * time.Second, want: []string{"does not answer", "thinking"}},
		{name: "no such program", role: "crash", exe: "/nonexistent/gomirror", want: []string{"start gomirror", "/nonexistent/gomirror"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := stateDir(t)
			opts := self(t, tc.role, dir)
			opts.Wait = tc.wait
			if tc.exe != "" {
				opts.Exe = tc.exe
			}
			write(t, filepath.Dir(dir), "log", "from an earlier start\n")
			_, err := Detach(t.Context(), opts)
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "earlier") {
				t.Errorf("got lines of an earlier start: %v", err)
			}
		})
	}
}
