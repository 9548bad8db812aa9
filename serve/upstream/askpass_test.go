package upstream

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/githosttest"
)

// oddToken has what shells, URLs and git's own format would each read otherwise.
const oddToken = `ghp_CANARY %41@:/'"$(id)` + "`id`" + `&?#=+ü~\`

// keyring answers for exact hosts, and counts.
type keyring struct {
	hosts map[string]string // to the password
	asked atomic.Int64
}

func (k *keyring) credential(_ context.Context, repo *url.URL) (string, string, bool) {
	k.asked.Add(1)
	password, ok := k.hosts[repo.Host]
	return "x-access-token", password, ok
}

func withToken(token string) func(*DirectOptions) {
	k := &keyring{hosts: map[string]string{"github.com": token}}
	return func(o *DirectOptions) { o.Credential = k.credential }
}

func TestParsePrompt(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, prompt      string
		what, repo, login string // "" if it is to be refused
	}{
		{"user", "Username for 'https://github.com/acme/x': ", "Username", "https://github.com/acme/x", ""},
		{"password", "Password for 'https://me@github.com/acme/x.git/': ", "Password", "https://me@github.com/acme/x.git", "me"},
		{"user with an at sign", "Password for 'https://me@corp.com@github.com/acme/x': ", "Password", "https://github.com/acme/x", "me@corp.com"},
		{"host alone", "Username for 'https://github.com': ", "Username", "https://github.com", ""},
		{"another question", "Passphrase for key '/home/me/.ssh/id': ", "", "", ""},
		{"plain http", "Username for 'http://github.com/acme/x': ", "", "", ""},
		{"ssh", "Username for 'ssh://github.com/acme/x': ", "", "", ""},
		{"port", "Username for 'https://github.com:8443/acme/x': ", "", "", ""},
		{"own port", "Username for 'https://github.com:443/acme/x': ", "", "", ""},
		{"upper case", "Username for 'https://GitHub.com/acme/x': ", "", "", ""},
		{"trailing dot", "Username for 'https://github.com./acme/x': ", "", "", ""},
		{"line end", "Username for 'https://github.com\n/acme/x': ", "", "", ""},
		{"line end behind", "Username for 'https://evil.com': \nUsername for 'https://github.com': ", "", "", ""},
		{"trailing line end", "Username for 'https://github.com': \n", "", "", ""},
		{"carriage return", "Username for 'https://github.com\r.evil.com/x': ", "", "", ""},
		{"escaped line end", "Username for 'https://github.com%0ahost=evil.com/x': ", "", "", ""},
		{"NUL", "Username for 'https://github.com\x00.evil.com/x': ", "", "", ""},
		{"ANSI escape", "Username for 'https://github.com/\x1b[31m': ", "", "", ""},
		{"query", "Username for 'https://github.com/acme/x?a': ", "", "", ""},
		{"fragment", "Username for 'https://github.com/acme/x#a': ", "", "", ""},
		{"dots", "Username for 'https://github.com/acme/../evil/x': ", "", "", ""},
		{"escaped slash", "Username for 'https://github.com/acme%2fevil/x': ", "", "", ""},
		{"escaped letter", "Username for 'https://github.com/%61cme/x': ", "", "", ""},
		{"backslash", `Username for 'https://evil.com\@github.com/x': `, "", "", ""},
		{"password within", "Password for 'https://me:secret@github.com/x': ", "", "", ""},
		{"address", "Username for 'https://127.0.0.1/x': ", "", "", ""},
		{"address of IPv6", "Username for 'https://[::1]/x': ", "", "", ""},
		{"name of this host", "Username for 'https://localhost/x': ", "", "", ""},
		{"other letters", "Username for 'https://gіthub.com/x': ", "", "", ""},
		{"no host", "Username for 'https:///x': ", "", "", ""},
		{"nothing", "", "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			what, repo, login, err := parsePrompt(tt.prompt)
			if tt.what == "" {
				if err == nil {
					t.Errorf("got %s for %s, want it refused", what, repo)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantRepo, _ := url.Parse(tt.repo)
			wantRepo.User = nil
			if what != tt.what || repo.String() != wantRepo.String() || login != tt.login {
				t.Errorf("got %s, %s, %q, want %s, %s, %q", what, repo, login, tt.what, wantRepo, tt.login)
			}
		})
	}
}

// askpass is this binary as git runs it.
func askpass(t *testing.T, teller *teller, prompt string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, prompt)
	c.Env = append(teller.environ(t.Context(), ""), "PATH="+os.Getenv("PATH"), "SystemRoot="+os.Getenv("SystemRoot"))
	c.ExtraFiles = teller.inlet.files()
	return c
}

func askAs(t *testing.T, teller *teller, prompt string) (answer string, err error) {
	t.Helper()
	out, err := askpass(t, teller, prompt).Output()
	return string(out), err
}

func newTeller(t *testing.T, k *keyring) *teller {
	t.Helper()
	d := newTestDirect(t, githosttest.New(t), func(o *DirectOptions) { o.Credential = k.credential })
	box, err := os.MkdirTemp("", "ask") // short: the path of a socket has little room
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(box) })
	teller, err := d.openTeller(t.Context(), box, "github.com/acme/mod")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(teller.close)
	return teller
}

func TestAskpass(t *testing.T) {
	t.Parallel()
	k := &keyring{hosts: map[string]string{
		"github.com": oddToken, "lines.example.com": "a\nb", "return.example.com": "a\rb", "nul.example.com": "a\x00b", "empty.example.com": "",
	}}
	teller := newTeller(t, k)
	tests := []struct{ name, prompt, want string }{
		{"user", "Username for 'https://github.com/acme/x': ", "x-access-token"},
		{"password", "Password for 'https://x-access-token@github.com/acme/x': ", oddToken},
		{"password of somebody else", "Password for 'https://me@github.com/acme/x': ", ""},
		{"host that ends alike", "Password for 'https://x-access-token@evilgithub.com/acme/x': ", ""},
		{"host that begins alike", "Username for 'https://github.com.evil.com/acme/x': ", ""},
		{"host below", "Username for 'https://api.github.com/acme/x': ", ""},
		{"another scheme", "Username for 'http://github.com/acme/x': ", ""},
		{"another port", "Username for 'https://github.com:444/acme/x': ", ""},
		{"line end in the question", "Username for 'https://github.com\nhost=evil.com': ", ""},
		{"line end in the token", "Password for 'https://x-access-token@lines.example.com/x': ", ""},
		{"carriage return in the token", "Password for 'https://x-access-token@return.example.com/x': ", ""},
		{"NUL in the token", "Password for 'https://x-access-token@nul.example.com/x': ", ""},
		{"empty token", "Password for 'https://x-access-token@empty.example.com/x': ", ""},
		{"too long", "Username for 'https://github.com/" + strings.Repeat("x", askpassPrompt) + "': ", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := askAs(t, teller, tt.prompt)
			if tt.want == "" {
				if err == nil || got != "" {
					t.Errorf("got %q, want no answer", got)
				}
				return
			}
			if err != nil || got != tt.want+"\n" {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// TestAskpassAtOnce has askpasses of several hosts ask at the same time: none gets
// what another was told.
func TestAskpassAtOnce(t *testing.T) {
	t.Parallel()
	k := &keyring{hosts: map[string]string{"a.example.com": "token-a", "b.example.com": "token-b", "c.example.com": "token-c"}}
	teller := newTeller(t, k)
	var wg sync.WaitGroup
	for i := range 24 {
		letter := string("abc"[i%3])
		wg.Go(func() {
			got, err := askAs(t, teller, "Password for 'https://x-access-token@"+letter+".example.com/x': ")
			if err != nil || got != "token-"+letter+"\n" {
				t.Errorf("asked for %s, got %q, %v", letter, got, err)
			}
		})
	}
	wg.Wait()
}

// TestAskpassOutlives asks after the child's end, and while its end comes.
func TestAskpassOutlives(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	d := newTestDirect(t, githosttest.New(t), func(o *DirectOptions) {
		o.Credential = func(ctx context.Context, _ *url.URL) (string, string, bool) {
			close(asked)
			<-ctx.Done() // a keychain that hangs
			return "x-access-token", "ghp_CANARY", true
		}
	})
	box, err := os.MkdirTemp("", "ask")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(box) })
	teller, err := d.openTeller(t.Context(), box, "github.com/acme/mod")
	if err != nil {
		t.Fatal(err)
	}
	var answer bytes.Buffer
	c := askpass(t, teller, "Username for 'https://github.com/x': ")
	c.Stdout = &answer
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	began := time.Now()
	teller.close()
	if took := time.Since(began); took > askpassLimit/2 {
		t.Errorf("close took %v, want no wait for a hanging keychain", took)
	}
	if err := c.Wait(); err == nil || answer.Len() > 0 {
		t.Errorf("at the child's end: got %q, want no answer", answer.String())
	}
}

func TestAskpassWithoutADaemon(t *testing.T) {
	for _, handle := range []string{"", "0", "1", "2", "7", "-1", "3x", filepath.Join(t.TempDir(), "none")} {
		var out bytes.Buffer
		if err := Askpass(handle, "Username for 'https://github.com/x': ", &out); err == nil || out.Len() > 0 {
			t.Errorf("handle %q: got %q, want an error", handle, out.String())
		}
	}
}
