//go:build unix

package doctor_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gomirror/gomirror/cmd"
	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/doctor/doctortest"
)

// inLabOf has a gomirror that a test starts live in the network of that test: the
// variable is the address at which the test tells of it.
const inLabOf = "DOCTOR_TEST_LAB"

// wire is how a process asks what its network is like.
type wire string

// wired is what a machine of the lab has in place of this one's.
type wired struct {
	Resolvers []string
	HostsFile string
}

// inLab puts a process into the network of a test, if it is meant to be in one. A clock
// that is wrong and a disk that is full are files of the user's.
func inLab(env *cmd.Env) *cmd.Env {
	at := wire(os.Getenv(inLabOf))
	if at == "" {
		return env
	}
	home := os.Getenv("HOME")
	env.Dial, env.Lookup = at.dial, at.lookup
	if text, err := os.ReadFile(filepath.Join(home, "clock")); err == nil {
		off, _ := time.ParseDuration(strings.TrimSpace(string(text))) // as the test wrote it
		env.Now = func() time.Time { return time.Now().Add(off) }
	}
	env.Look = func(o doctor.Options) doctor.Options {
		var w wired
		if text, err := at.ask("/look", ""); err == nil && json.Unmarshal([]byte(text), &w) == nil {
			o.Resolvers, o.HostsFile = w.Resolvers, w.HostsFile
		}
		o.Space = func(dir string) (doctor.Space, error) {
			s := doctor.Space{Kind: "ext4", Total: 100 << 30, Free: 60 << 30, Files: 1e7, Rest: 1e6, Quota: doctor.NoQuota}
			_, err := os.Stat(filepath.Join(home, "full"))
			if err == nil && !strings.HasPrefix(dir, filepath.Join(home, "disk2")) {
				s.Free = 50 << 20
			}
			if strings.HasPrefix(dir, filepath.Join(home, "disk2")) {
				s.Total = 200 << 30
			}
			return s, nil
		}
		return o
	}
	return env
}

// ask asks the test one thing.
func (at wire) ask(path, about string) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(string(at) + path + "?about=" + url.QueryEscape(about))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var said struct{ Text, Err string }
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		return "", err
	}
	if said.Err != "" {
		return said.Text, errors.New(said.Err)
	}
	return said.Text, nil
}

func (at wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	addrs, err := at.lookup(ctx, host)
	for _, ip := range addrs {
		var real string
		if real, err = at.ask("/where", net.JoinHostPort(ip.String(), port)); err != nil {
			err = &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
			continue
		}
		var conn net.Conn
		if conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", real); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (at wire) lookup(_ context.Context, host string) (addrs []netip.Addr, err error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	if host == "localhost" {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	text, err := at.ask("/lookup", host)
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: host, IsNotFound: text == "none"}
	}
	for field := range strings.FieldsSeq(text) {
		addrs = append(addrs, netip.MustParseAddr(field))
	}
	return addrs, nil
}

// openWire tells processes what a lab is like just now, and returns the address at which
// it does.
func openWire(t *testing.T, lab *doctortest.Lab) string {
	t.Helper()
	mux := http.NewServeMux()
	answer := func(path string, tell func(ctx context.Context, about string) (string, error)) {
		mux.HandleFunc(path, func(rw http.ResponseWriter, r *http.Request) {
			var said struct{ Text, Err string }
			var err error
			if said.Text, err = tell(r.Context(), r.FormValue("about")); err != nil {
				said.Err = err.Error()
			}
			_ = json.NewEncoder(rw).Encode(said) // who does not listen is gone
		})
	}
	answer("/where", func(_ context.Context, addr string) (string, error) { return lab.Where(addr) })
	answer("/look", func(context.Context, string) (string, error) {
		text, err := json.Marshal(wired{lab.Resolvers(), lab.HostsFile})
		return string(text), err
	})
	answer("/lookup", func(ctx context.Context, host string) (string, error) {
		addrs, err := lab.Lookup(ctx, host)
		if dns, ok := errors.AsType[*net.DNSError](err); ok {
			kind := ""
			if dns.IsNotFound {
				kind = "none"
			}
			return kind, errors.New(dns.Err)
		}
		var all []string
		for _, ip := range addrs {
			all = append(all, ip.String())
		}
		return strings.Join(all, " "), err
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}
