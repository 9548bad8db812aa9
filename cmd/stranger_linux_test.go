package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gomirror/gomirror/serve/proxytest"
)

// guardCommands are what the scripts about other users and web pages use.
//
//	as UID PROGRAM ARG…            as that user, who has a home and a gomirror of its own;
//	                               $STRANGER_HOME is where all users have theirs
//	as -until LINE UID PROGRAM ARG…   in the background, once it has printed the line
//	as-end                         ends that and prints what it printed
//	stranger-url                   sets $PID, $HOSTPORT, $ADDRESS and $CAPABILITY by the
//	                               last output, a status --json --show-url
//	browse …                       see there
//	root-only                      ends the script with a reason, unless root runs it
func guardCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"as":     runAs,
		"as-end": endAs,
		"browse": browse,

		"stranger-url": takeURL,
		"root-only":    rootOnly,
	}
}

// guardPrograms are what other users run: see visit.
func guardPrograms() map[string]func() { return map[string]func(){"visit": visit} }

// strangers are the other users of one script.
type strangers struct {
	dir string // the programs, and a home for each

	mu         sync.Mutex
	background *exec.Cmd // nil without one
	said       *syncBytes
}

type strangersKey struct{}

func setUpStrangers(e *testscript.Env) { e.Values[strangersKey{}] = new(strangers) }

// openDir makes the folder that other users can reach, which the script's own is not,
// with copies of this test binary under the names of the programs.
func (s *strangers) openDir(ts *testscript.TestScript) {
	if s.dir != "" {
		return
	}
	dir, err := os.MkdirTemp("", "gm")
	ts.Check(err)
	ts.Defer(func() { os.RemoveAll(dir) })
	ts.Check(os.Chmod(dir, 0o755))
	exe, err := os.Executable()
	ts.Check(err)
	binary, err := os.ReadFile(exe)
	ts.Check(err)
	ts.Check(os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	ts.Check(proxytest.WriteProgram(filepath.Join(dir, "bin", "gomirror"), binary, 0o755))
	ts.Check(os.Symlink("gomirror", filepath.Join(dir, "bin", "visit")))
	s.dir = dir
	ts.Setenv("STRANGER_HOME", dir)
	if ca := ts.Getenv("GIT_CA"); ca != "" {
		text, err := os.ReadFile(ca)
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dir, "ca.pem"), text, 0o644))
	}
}

// command is argv as the user, in a home and with settings of its own. Who is not
// root needs sudo for it: a test of other users that has none proves nothing.
func (s *strangers) command(ts *testscript.TestScript, uid string, argv []string) *exec.Cmd {
	id, err := strconv.ParseUint(uid, 10, 32)
	ts.Check(err)
	s.openDir(ts)
	home := filepath.Join(s.dir, uid)
	if err := os.Mkdir(home, 0o700); err == nil {
		if os.Getuid() == 0 {
			err = os.Chown(home, int(id), int(id))
		} else {
			err = exec.Command("sudo", "-n", "chown", uid+":"+uid, home).Run()
		}
		ts.Check(err)
	}
	env := []string{
		"PATH=" + filepath.Join(s.dir, "bin") + ":" + ts.Getenv("PATH"),
		"HOME=" + home, "TMPDIR=" + home, "WORK=" + ts.Getenv("WORK"), // by WORK a script's end finds what it left
		"XDG_CONFIG_HOME=" + home + "/config", "XDG_CACHE_HOME=" + home + "/cache", "XDG_STATE_HOME=" + home + "/state", "GORACE=" + atOnce,
		"GOPATH=" + home + "/go", "GOCACHE=" + home + "/gocache", "GOTOOLCHAIN=local", "GOTELEMETRY=off",
		"SSL_CERT_FILE=" + s.dir + "/ca.pem",
	}
	for _, name := range []string{"GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GONOPROXY", "GOMIRROR_ORIG", "HTTPS_PROXY", "GOMIRROR_GITHUB_TOKEN"} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	if program := filepath.Join(s.dir, "bin", argv[0]); argv[0] == "gomirror" || argv[0] == "visit" {
		argv = append([]string{program}, argv[1:]...)
	}
	if os.Getuid() != 0 {
		if out, err := exec.Command("sudo", "-n", "-u", "#"+uid, "true").CombinedOutput(); err != nil {
			ts.Fatalf("this test plays another user: run it as root, or let sudo do without a password: %v\n%s", err, out)
		}
		wrapped := append([]string{"-n", "-u", "#" + uid, "env", "-i"}, env...)
		c := exec.Command("sudo", append(wrapped, argv...)...)
		c.Dir = "/"
		return c
	}
	c := exec.Command(argv[0], argv[1:]...)
	c.Env, c.Dir = env, home
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(id), Gid: uint32(id)}}
	return c
}

func runAs(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(strangersKey{}).(*strangers)
	until := ""
	if len(args) > 2 && args[0] == "-until" {
		until, args = args[1], args[2:]
	}
	if len(args) < 2 {
		ts.Fatalf("usage: as [-until LINE] UID PROGRAM ARG…")
	}
	c := s.command(ts, args[0], args[1:])
	if until != "" {
		s.start(ts, c, until)
		return
	}
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	// A sidecar that it starts goes on; what it prints goes to a file of its own.
	err := c.Run()
	io.Copy(ts.Stdout(), &out)
	io.Copy(ts.Stderr(), &errs)
	if (err != nil) != neg {
		ts.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
}

// start runs c until as-end, or the end of the script.
func (s *strangers) start(ts *testscript.TestScript, c *exec.Cmd, until string) {
	said := new(syncBytes)
	c.Stdout, c.Stderr = said, said
	ts.Check(c.Start())
	s.mu.Lock()
	s.background, s.said = c, said
	s.mu.Unlock()
	ts.Defer(func() { s.end() })
	limit := time.After(30 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); !bytes.Contains(said.bytes(), []byte(until)); {
		select {
		case <-tick.C:
		case <-limit:
			ts.Fatalf("%s did not print %q: %s", c, until, said.bytes())
		}
	}
}

func (s *strangers) end() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.background == nil {
		return nil
	}
	s.background.Process.Kill()
	s.background.Wait()
	s.background = nil
	return s.said.bytes()
}

func endAs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: as-end")
	}
	fmt.Fprintf(ts.Stdout(), "%s\n", ts.Value(strangersKey{}).(*strangers).end())
}

// rootOnly is for scripts that trace gomirror: it shows its memory to nobody else, and
// so neither what it starts programs with.
func rootOnly(ts *testscript.TestScript, neg bool, args []string) {
	if os.Getuid() != 0 {
		ts.Fatalf("this script traces a hardened sidecar, which root alone can: run the tests as root")
	}
}

func takeURL(ts *testscript.TestScript, neg bool, args []string) {
	var doc statusDoc
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &doc))
	address, capability, ok := strings.Cut(doc.URL, "/t/")
	if neg || len(args) > 0 || !ok {
		ts.Fatalf("stranger-url: no status with an address precedes it")
	}
	for name, value := range map[string]string{"PID": strconv.Itoa(doc.PID), "HOSTPORT": doc.Address, "ADDRESS": address, "CAPABILITY": capability} {
		ts.Setenv(name, value)
	}
}

// visit is a program of another user's.
//
//	visit get URL [NAME=VALUE…]   prints status and body; the pairs are headers
//	visit unix PATH               prints what a connection to that socket comes to
//	visit squat ADDR              takes the address, answers 200 to all, prints what it is asked
//	visit harden …                see harden_linux_test.go
func visit() {
	if err := visitAs(os.Args[1], os.Args[2:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func visitAs(role string, args []string) error {
	switch role {
	case "get":
		return visitGet(args[0], args[1:])
	case "unix":
		c, err := net.Dial("unix", args[0])
		if err != nil {
			return err
		}
		defer c.Close()
		fmt.Fprintf(c, "GET /status HTTP/1.0\r\n\r\n")
		io.Copy(os.Stdout, c)
		return nil
	case "squat":
		l, err := net.Listen("tcp", args[0])
		if err != nil {
			return err
		}
		fmt.Println("squatting")
		return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Println("asked", r.RequestURI)
			io.WriteString(w, "v9.9.9\n")
		}))
	case "harden":
		return visitHarden(args)
	}
	return errors.New("unknown role " + role)
}

func visitGet(url string, headers []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	for pair := range slices.Values(headers) {
		name, value, _ := strings.Cut(pair, "=")
		req.Header.Set(name, value)
		if name == "Host" {
			req.Host = value
		}
	}
	resp, err := (&http.Transport{}).RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}
