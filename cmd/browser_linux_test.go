package cmd

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gomirror/gomirror/serve/daemon"
)

// rebound is a name of somebody else's that leads to gomirror's port once the page
// from it has been loaded.
const rebound = "evil.example"

// browseLimit is how long one page may take on a machine that is busy with the
// tests of other packages.
const browseLimit = 3 * time.Minute

// browse opens a hostile page in headless Chromium, which knows the whole address of
// a file behind gomirror and tries to read it in every way that a page has. Nothing
// of the file may reach the browser, and each try must be seen on the wire. With
// -rebind the page comes from a name that resolves to gomirror's address afterwards,
// so that for the browser the two are one origin. With -unguarded something stands
// before gomirror that takes off what the guard looks at: that the file then does
// arrive proves that the page tries in earnest.
//
//	browse [-rebind] [-unguarded] [-page HOST] [-target HOST] KEY MARK
//
// MARK is a text in the file. Without -rebind the page comes from HOST, 127.0.0.1 if
// not given, and asks for the file at HOST, the same if not given.
func browse(ts *testscript.TestScript, neg bool, args []string) {
	lab := &browserLab{read: map[string]string{}, ended: make(chan struct{})}
	flags := flag.NewFlagSet("browse", flag.ContinueOnError)
	flags.BoolVar(&lab.rebind, "rebind", false, "")
	flags.BoolVar(&lab.unguarded, "unguarded", false, "")
	pageHost := flags.String("page", "127.0.0.1", "")
	targetHost := flags.String("target", "127.0.0.1", "")
	ts.Check(flags.Parse(args))
	if neg || flags.NArg() != 2 {
		ts.Fatalf("usage: browse [-rebind] [-unguarded] [-page HOST] [-target HOST] KEY MARK")
	}
	key, mark := flags.Arg(0), flags.Arg(1)
	addr, capability, err := daemon.Saved(stateDir(ts))
	ts.Check(err)
	_, port, err := net.SplitHostPort(addr)
	ts.Check(err)
	if lab.rebind {
		*targetHost = rebound
	}
	lab.target = "http://" + net.JoinHostPort(*targetHost, port) + "/t/" + capability + "/" + key
	template, err := os.ReadFile("testdata/hostile.html")
	ts.Check(err)
	home := httptest.NewServer(http.HandlerFunc(lab.serveHome))
	defer home.Close()
	_, homePort, err := net.SplitHostPort(home.Listener.Addr().String())
	ts.Check(err)
	homeURL := "http://" + net.JoinHostPort(*pageHost, homePort)
	lab.mu.Lock()
	lab.page = strings.NewReplacer("TARGET", lab.target, "HOME", homeURL).Replace(string(template))
	lab.mu.Unlock()

	behind := addr
	if lab.unguarded {
		open := httptest.NewServer(unguarded(addr))
		defer open.Close()
		behind = open.Listener.Addr().String()
	}
	start := homeURL
	if lab.rebind {
		start = "http://" + net.JoinHostPort(rebound, port)
	}
	wire := &tap{lab: lab, behind: behind}
	if said, err := lab.run(wire, start+"/", homePort, port); err != nil {
		ts.Fatalf("%v\n%s", err, said)
	}
	lab.judge(ts, wire, mark)
}

// run has the browser open the page with the tap between it and port.
func (lab *browserLab) run(wire *tap, start, homePort, port string) (said string, err error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", port))
	for i := 0; errors.Is(err, syscall.EADDRINUSE) && i < 50; i++ { // by the tap before, for a moment
		time.Sleep(20 * time.Millisecond)
		l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.2", port))
	}
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), browseLimit)
	var taps sync.WaitGroup
	defer taps.Wait()
	defer cancel()
	taps.Go(func() { wire.run(ctx, l) }) // ends with ctx
	return chromium(ctx, lab.ended, start, homePort, port)
}

// browserLab is one page and what became of its tries.
type browserLab struct {
	rebind, unguarded bool
	target, page      string
	ended             chan struct{}

	mu     sync.Mutex
	begun  bool              // the page runs: from now on its name leads to gomirror
	read   map[string]string // by try: what the page could read
	names  []string          // of the tries, in order
	finish sync.Once
}

// serveHome is the server of the page's author.
func (lab *browserLab) serveHome(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what is missing is not in the report
	lab.mu.Lock()
	defer lab.mu.Unlock()
	switch r.URL.Path {
	case "/":
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, lab.page)
	case "/begin":
		lab.begun = true
	case "/report":
		name := r.URL.Query().Get("try")
		lab.names = append(lab.names, name)
		lab.read[name] = string(body)
	case "/end":
		lab.finish.Do(func() { close(lab.ended) })
	}
}

// judge prints a line for each try and holds them to what must be.
func (lab *browserLab) judge(ts *testscript.TestScript, wire *tap, mark string) {
	got := wire.exchanges()
	lab.mu.Lock()
	defer lab.mu.Unlock()
	if len(lab.names) < 20 {
		ts.Fatalf("the page reported %d tries, want all of them: %q", len(lab.names), lab.names)
	}
	reached, marked, legible := 0, 0, 0
	for _, name := range lab.names {
		var status []string
		hit := false
		for _, e := range got[name] {
			status = append(status, strconv.Itoa(e.status))
			hit = hit || bytes.Contains(e.body, []byte(mark))
		}
		if len(status) > 0 {
			reached++
		}
		if hit {
			marked++
		}
		if strings.Contains(lab.read[name], mark) {
			legible++
		}
		fmt.Fprintf(ts.Stdout(), "%-18s answers %s, page read %.60q\n", name, strings.Join(status, " "), lab.read[name])
		refused := !slices.ContainsFunc(got[name], func(e exchange) bool { return e.status != 403 && e.status != 421 })
		if !lab.unguarded && !refused {
			ts.Fatalf("%s was answered %q, want it refused", name, status)
		}
	}
	fmt.Fprintf(ts.Stdout(), "%d of %d tries reached gomirror, %d brought the file to the browser, %d to the page\n",
		reached, len(lab.names), marked, legible)
	if all := wire.sent(); !lab.unguarded && bytes.Contains(all, []byte(mark)) {
		ts.Fatalf("the file is among the %d bytes that reached the browser", len(all))
	}
	if reached != len(lab.names) {
		ts.Fatalf("%d of %d tries were seen on the wire, want all", reached, len(lab.names))
	}
}

// unguarded is what gomirror would be without its guard.
func unguarded(addr string) http.Handler {
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL = &url.URL{Scheme: "http", Host: addr, Path: r.In.URL.Path}
		r.Out.Host, r.Out.Method, r.Out.Header = addr, http.MethodGet, http.Header{}
		r.Out.Body, r.Out.ContentLength = nil, 0
	}}
}

// chromium opens a page, and ends when the page has or with ctx. For it all names lead
// to this machine: with homePort to the page's server, with port to the tap.
func chromium(ctx context.Context, ended <-chan struct{}, page, homePort, port string) (said string, err error) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		return "", fmt.Errorf("this test needs Chromium: apt-get install chromium, as .ci/test does: %w", err)
	}
	profile, err := os.MkdirTemp("", "gm-browser")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(profile)
	rules := "MAP *:" + homePort + " 127.0.0.1:" + homePort + ", MAP *:" + port + " 127.0.0.2:" + port + ", MAP * ~NOTFOUND"
	c := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
		"--no-first-run", "--no-proxy-server", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-popup-blocking", "--user-data-dir="+profile, "--host-resolver-rules="+rules, page)
	c.Env = append(os.Environ(), "HOME="+profile, "XDG_CONFIG_HOME="+profile, "XDG_CACHE_HOME="+profile)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children must end with it
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	c.WaitDelay = 10 * time.Second
	if err := c.Start(); err != nil {
		return "", err
	}
	exited := make(chan error, 1)
	go func() { exited <- c.Wait() }() // ends when it is killed below
	var early error
	select {
	case <-ended:
	case early = <-exited:
		early = fmt.Errorf("chromium ended before the page did: %v", early)
	case <-ctx.Done():
		early = fmt.Errorf("the page did not end within %v", browseLimit)
	}
	syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	if early == nil || ctx.Err() != nil {
		<-exited
	}
	return out.String(), early
}
