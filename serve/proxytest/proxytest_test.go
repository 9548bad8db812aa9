package proxytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
)

// goTool runs the real go command in dir against u alone.
func goTool(t *testing.T, u *Upstream, dir string, args ...string) (string, error) {
	t.Helper()
	c := exec.Command("go", args...)
	c.Dir = dir
	c.Env = append(os.Environ(),
		"GOPROXY="+u.URL, "GOSUMDB="+u.SumDBKey(), "GONOSUMDB=", "GONOPROXY=", "GOPRIVATE=",
		"GOPATH="+filepath.Join(dir, "gopath"), "GOMODCACHE=", "GOENV=off", "GOFLAGS=-modcacherw",
		"GOTOOLCHAIN=local", "GOWORK=off", "SSL_CERT_FILE="+u.CAFile)
	out, err := c.CombinedOutput()
	return string(out), err
}

func TestGoTakesEveryFixture(t *testing.T) {
	u := New(t, Options{Fixtures: true})
	dir := t.TempDir()
	var require strings.Builder
	for _, m := range Fixtures() {
		if !strings.Contains(m.Path, "/deep/") {
			fmt.Fprintln(&require, m.Path+"@"+m.Version)
		}
	}
	args := append([]string{"mod", "download"}, strings.Fields(require.String())...)
	if out, err := goTool(t, u, dir, args...); err != nil {
		t.Errorf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	if got := u.Count("/supported"); got != 1 {
		t.Errorf("the database was asked %d times whether it is relayed, want once", got)
	}
}

func TestGoSeesVersions(t *testing.T) {
	u := New(t, Options{Fixtures: true, TLS: true})
	u.Branch("example.com/quote", "main", "v1.5.3-0.20240301100000-0123456789ab")
	tests := map[string]struct {
		args string
		want string
	}{
		"list":      {"list -m -versions example.com/quote", "example.com/quote v1.5.1 v1.5.2 v1.6.0-pre.1\n"},
		"latest":    {"list -m example.com/quote@latest", "example.com/quote v1.5.2\n"},
		"branch":    {"list -m example.com/quote@main", "example.com/quote v1.5.3-0.20240301100000-0123456789ab\n"},
		"pseudo":    {"list -m example.com/pseudo@latest", "example.com/pseudo v0.0.0-20190102030405-89abcdef0123\n"},
		"retracted": {"list -m example.com/retracted@latest", "example.com/retracted v1.0.0\n"},
		"escaped":   {"list -m example.com/CamelCase@latest", "example.com/CamelCase v1.2.0\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := goTool(t, u, t.TempDir(), strings.Fields(test.args)...)
			if err != nil || got != test.want {
				t.Errorf("go %s = %q, %v, want %q", test.args, got, err, test.want)
			}
		})
	}
}

func TestDatabaseCatchesOtherBytes(t *testing.T) {
	first := New(t, Options{Fixtures: true})
	second := New(t, Options{Database: first.db})
	second.Add(t, "example.com/quote", "v1.5.2", map[string]string{"go.mod": "module example.com/quote\n", "evil.go": "package quote\n"})
	out, err := goTool(t, second, t.TempDir(), "mod", "download", "example.com/quote@v1.5.2")
	if err == nil || !strings.Contains(out, "SECURITY ERROR") {
		t.Errorf("other bytes: %v\n%s\nwant a SECURITY ERROR", err, out)
	}
}

func TestFaults(t *testing.T) {
	const info = "/example.com/quote/@v/v1.5.2.info"
	healthy := `{"Version":"v1.5.2","Time":"2024-02-29T12:00:00Z"}`
	tests := map[string]struct {
		fault Fault
		code  int
		body  string // "" means an error while reading
	}{
		"status":   {Fault{Kind: Status, Arg: "403 not yours"}, 403, "not yours\n"},
		"html":     {Fault{Kind: HTML}, 200, "<!DOCTYPE html>\n<html><body><h1>Please log in</h1></body></html>\n"},
		"body":     {Fault{Kind: Body, Arg: "junk"}, 200, "junk"},
		"swap":     {Fault{Kind: Swap, Arg: "/example.com/quote/@v/v1.5.1.info"}, 200, strings.Replace(healthy, "5.2", "5.1", 1)},
		"append":   {Fault{Kind: Append, Arg: "more"}, 200, healthy + "more"},
		"flip":     {Fault{Kind: Flip}, 200, strings.Replace(healthy, "Time", "TimE", 1)},
		"short":    {Fault{Kind: Short}, 200, healthy[:len(healthy)/2]},
		"cut":      {Fault{Kind: Cut}, 200, ""},
		"length":   {Fault{Kind: Length}, 200, ""},
		"reset":    {Fault{Kind: Reset}, 0, ""},
		"loop":     {Fault{Kind: Loop}, 0, ""},
		"redirect": {Fault{Kind: Redirect, Arg: "/example.com/quote/@v/v1.5.1.info"}, 200, strings.Replace(healthy, "5.2", "5.1", 1)},
	}
	for _, secure := range []bool{false, true} {
		u := New(t, Options{Fixtures: true, TLS: secure})
		client := clientOf(t, u)
		for name, test := range tests {
			t.Run(fmt.Sprintf("%s/tls=%v", name, secure), func(t *testing.T) {
				u.Fault("v1.5.2.*", test.fault)
				code, got, err := get(client, u.URL+info)
				if name == "flip" && len(got) == len(healthy) && got != healthy {
					got = test.body // which byte it is does not matter
				}
				if code != test.code || got != test.body && test.body != "" || (err != nil) != (test.body == "") {
					t.Errorf("got %d %q, %v, want %d %q", code, got, err, test.code, test.body)
				}
				u.Mend()
				if _, got, err := get(client, u.URL+info); got != healthy || err != nil {
					t.Errorf("mended: got %q, %v", got, err)
				}
			})
		}
	}
}

func TestFaultTimes(t *testing.T) {
	u := New(t, Options{Fixtures: true})
	u.Fault("list", Fault{Kind: Status, Arg: "503 busy", Times: 2})
	var got []int
	for range 3 {
		code, _, _ := get(http.DefaultClient, u.URL+"/example.com/quote/@v/list")
		got = append(got, code)
	}
	if want := []int{503, 503, 200}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("codes %v, want %v", got, want)
	}
}

func TestSilenceEndsWithTheUpstream(t *testing.T) {
	for _, kind := range []FaultKind{Hang, Stall} {
		t.Run(string(kind), func(t *testing.T) {
			u := New(t, Options{Fixtures: true})
			u.Fault("*.zip", Fault{Kind: kind})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			stopped := make(chan error, 1)
			go func() { // ends when the asked-for request has come
				stopped <- u.Await(ctx, "v1.5.2.zip")
				u.Stop()
			}()
			if _, _, err := get(http.DefaultClient, u.URL+"/example.com/quote/@v/v1.5.2.zip"); err == nil {
				t.Error("a silent upstream gave an answer")
			}
			if err := <-stopped; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRestartKeepsTheAddress(t *testing.T) {
	u := New(t, Options{Fixtures: true})
	url := u.URL + "/example.com/quote/@v/list"
	u.Stop()
	if _, _, err := get(http.DefaultClient, url); err == nil {
		t.Error("a stopped upstream answers")
	}
	if err := u.Restart(); err != nil {
		t.Fatal(err)
	}
	if code, _, err := get(http.DefaultClient, url); code != 200 {
		t.Errorf("after the restart: %d, %v", code, err)
	}
}

func TestLinkIsPaidFor(t *testing.T) {
	u := New(t, Options{Link: Link{RTT: 20 * time.Millisecond, Bandwidth: 1 << 20}})
	u.Add(t, "example.com/big", "v1.0.0", map[string]string{"go.mod": "module example.com/big\n", "blob.txt": noise(100 << 10)})
	start := time.Now()
	if _, _, err := get(http.DefaultClient, u.URL+"/example.com/big/@v/v1.0.0.zip"); err != nil {
		t.Fatal(err)
	}
	// Two round trips and about 50 KiB of zip at 1 MiB/s.
	if took := time.Since(start); took < 60*time.Millisecond {
		t.Errorf("a far upstream answered in %v", took)
	}
}

func TestDatabaseNameWithSlash(t *testing.T) {
	db := NewDatabase(t, "sumdb.test/team/db")
	u := New(t, Options{Database: db, Fixtures: true})
	if _, err := note.NewVerifier(db.Key); err != nil {
		t.Fatal(err)
	}
	if out, err := goTool(t, u, t.TempDir(), "mod", "download", "example.com/quote@v1.5.2"); err != nil {
		t.Errorf("go mod download: %v\n%s", err, out)
	}
	if got := u.Count("/sumdb/sumdb.test/team/db/lookup/example.com/quote@v1.5.2"); got != 1 {
		t.Errorf("%d lookups, want 1: %q", got, u.Requests())
	}
}

func TestFixturesAreModules(t *testing.T) {
	for _, m := range Fixtures() {
		if err := module.Check(m.Path, m.Version); err != nil {
			t.Error(err)
		}
	}
}

func clientOf(t *testing.T, u *Upstream) *http.Client {
	t.Helper()
	tr := &http.Transport{ForceAttemptHTTP2: true}
	if u.CAFile != "" {
		pem, err := os.ReadFile(u.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		tr.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func get(client *http.Client, url string) (code int, body string, err error) {
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// noise is text that deflate can only halve.
func noise(n int) string {
	var b strings.Builder
	x := uint32(1)
	for b.Len() < n {
		x = x*1664525 + 1013904223
		fmt.Fprintf(&b, "%08x", x)
	}
	return b.String()
}
