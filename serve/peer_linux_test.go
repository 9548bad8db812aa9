package serve

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gomirror/gomirror/serve/proxytest"
)

// getEnv makes this test binary get the URL in it, as whoever runs it.
const getEnv = "SERVE_TEST_GET"

func TestMain(m *testing.M) {
	url := os.Getenv(getEnv)
	if url == "" {
		os.Exit(m.Run())
	}
	resp, err := http.Get(url)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	io.Copy(os.Stdout, resp.Body)
	fmt.Print(resp.StatusCode)
	os.Exit(0)
}

func TestSocketOwner(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		t.Run(addr, func(t *testing.T) {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			dialed := l.Addr().String()
			if addr == "[::]:0" { // an IPv4 client of an IPv6 socket
				dialed = fmt.Sprintf("127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port)
			}
			client, err := net.Dial("tcp", dialed)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			from, to := addrPort(server.RemoteAddr()), addrPort(server.LocalAddr())
			if uid, err := socketOwner(from, to); uid != os.Getuid() || err != nil {
				t.Errorf("got uid %d, %v; want %d", uid, err, os.Getuid())
			}
			// A port without connection, on which somebody listens.
			if uid, err := socketOwner(to, netip.AddrPortFrom(to.Addr(), 1)); err == nil {
				t.Errorf("listener: got uid %d, want none", uid)
			}
			if uid, err := socketOwner(netip.AddrPortFrom(from.Addr(), 1), to); err == nil {
				t.Errorf("nobody: got uid %d, want none", uid)
			}
		})
	}
}

// TestPeers plays the kernel's answers, and counts that it is asked once a
// connection.
func TestPeers(t *testing.T) {
	for _, tc := range []struct {
		name             string
		peer             peer
		want             int
		refused, unknown int64
	}{
		{"ours", peer{uid: 1000, known: true, ours: true}, 200, 0, 0},
		{"another user", peer{uid: 65534, known: true}, 403, 2, 0},
		{"no row", peer{}, 200, 0, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := 0
			p := run(t, Options{}, func(s *Server) {
				s.peer = func(netip.AddrPort, netip.AddrPort) peer { asked++; return tc.peer }
			})
			p.keep(infoName, []byte(infoBody))
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for range 2 {
				resp, err := client.Get(p.url(infoName))
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != tc.want || tc.want == 403 && !strings.Contains(string(body), "uid 65534") {
					t.Errorf("got %s, %q", resp.Status, body)
				}
			}
			if got := p.Stats(); asked != 1 || got.RefusedUser != tc.refused || got.UnknownUser != tc.unknown {
				t.Errorf("asked %d times, got %+v", asked, got)
			}
		})
	}
}

// TestStrangerFillsNoLog has other users connect again and again: each is named once.
func TestStrangerFillsNoLog(t *testing.T) {
	uid := 0
	p := run(t, Options{}, func(s *Server) {
		s.peer = func(netip.AddrPort, netip.AddrPort) peer { return peer{uid: uid, known: true} }
	})
	const named = "connection of another user refused"
	for _, tc := range []struct {
		name            string
		first, last     int // uids, each on a connection of its own
		lines, refusals int
	}{
		{"one", 1001, 1001, 1, 1},
		{"the same", 1001, 1001, 1, 2},
		{"another", 1002, 1002, 2, 3},
		{"many", 2000, 2000 + 2*uidLimit, uidLimit, 4 + 2*uidLimit},
	} {
		for uid = tc.first; uid <= tc.last; uid++ {
			if resp, _ := p.get("GET", p.url(infoName)); resp.StatusCode != 403 {
				t.Errorf("%s: got %s", tc.name, resp.Status)
			}
		}
		if got, refused := strings.Count(p.logs.String(), named), p.Stats().RefusedUser; got != tc.lines || refused != int64(tc.refusals) {
			t.Errorf("%s: got %d lines after %d refusals, want %d after %d", tc.name, got, refused, tc.lines, tc.refusals)
		}
	}
}

// TestOtherUser steals the capability as uid 65534.
func TestOtherUser(t *testing.T) {
	for _, check := range []bool{true, false} {
		t.Run(fmt.Sprint(check), func(t *testing.T) {
			p := run(t, Options{PeerCheck: check})
			p.keep(infoName, []byte(infoBody))
			if resp, _ := p.get("GET", p.url(infoName)); resp.StatusCode != 200 {
				t.Errorf("our own request: got %s", resp.Status)
			}
			out, err := asOther(t, p.url(infoName)).CombinedOutput()
			if refused := strings.HasSuffix(string(out), "403"); err != nil || refused != check || refused == strings.Contains(string(out), "v1.0.0") {
				t.Errorf("got %q, %v", out, err)
			}
		})
	}
}

// asOther returns a command that gets url as another user, with a copy of this test
// binary that this user can reach. Who is not root needs sudo for it: a test of
// another user that has none proves nothing.
func asOther(t *testing.T, url string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "gm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	copied := filepath.Join(dir, "other")
	for _, err := range []error{os.Chmod(dir, 0o755), proxytest.WriteProgram(copied, binary, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() != 0 {
		sudo := []string{"-n", "-u", "#65534"}
		if out, err := exec.Command("sudo", append(sudo, "true")...).CombinedOutput(); err != nil {
			t.Fatalf("this test plays another user: run it as root, or let sudo do without a password: %v\n%s", err, out)
		}
		return exec.CommandContext(t.Context(), "sudo", append(sudo, "env", getEnv+"="+url, copied)...)
	}
	cmd := exec.CommandContext(t.Context(), copied)
	cmd.Env = append(os.Environ(), getEnv+"="+url)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd
}
