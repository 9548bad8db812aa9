package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve"
	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
	"github.com/gomirror/gomirror/serve/mirror"
	"github.com/gomirror/gomirror/serve/proxytest"
	"github.com/gomirror/gomirror/serve/upstream"
)

func TestVerdictOf(t *testing.T) {
	zip, err := cache.NewKey("example.com/m", "v1.0.0", cache.Zip)
	if err != nil {
		t.Fatal(err)
	}
	access := func(kind github.Kind, err error) error {
		return &github.AccessError{Kind: kind, Repo: "github.com/acme/x", Err: err}
	}
	for _, c := range []struct {
		name string
		err  error
		want Verdict
	}{
		{"nothing", nil, Fine},
		{"no token", access(github.NoToken, nil), AuthMissing},
		{"an old token", access(github.Expired, nil), AuthExpired},
		{"single sign-on", access(github.SSO, nil), AuthSSO},
		{"hidden", access(github.NoAccess, nil), NoAccess},
		{"too many", access(github.RateLimit, nil), RateLimited},
		{"GitHub has no address", access(github.Unreachable, &net.DNSError{IsNotFound: true}), NetDNS},
		{"no entry", credential.ErrNone, AuthMissing},
		{"other bytes", &cache.ContradictionError{Key: zip}, ChecksumMismatch},
		{"a full disk", &cache.FullError{Err: errors.New("no space left on device")}, LocalFault},
		{"no git", &fs.PathError{Op: "fork/exec", Path: "git", Err: fs.ErrNotExist}, LocalFault},
		{"offline", &mirror.OfflineError{Key: zip}, OfflineMode},
		{"no zip", &cache.InvalidError{Key: zip, Reason: "not a zip"}, ZipInvalid},
		{"a large zip", &cache.InvalidError{Key: zip, Reason: "more than 524288000 bytes"}, TooLarge},
		{"a web page", &cache.InvalidError{Key: zip, Reason: "https://x is a web page, not a module file"}, UpstreamError},
		{"a moved tag", &cache.MovedError{}, Moved},
		{"404", &upstream.StatusError{Code: 404}, NotFound},
		{"429", &upstream.StatusError{Code: 429}, RateLimited},
		{"503", &upstream.StatusError{Code: 503}, UpstreamError},
		{"no such tag", &upstream.OriginError{Module: module.Version{Path: "example.com/m", Version: "v9.9.9"}, Text: "unknown revision v9.9.9"}, BadVersion},
		{"DNS", fmt.Errorf("fetch: %w", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host"}}), NetDNS},
		{"a proxy", &net.OpError{Op: "proxyconnect", Err: errors.New("refused")}, NetProxy},
		{"silence", context.DeadlineExceeded, NetTCP},
		{"something else", errors.New("something else"), Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := VerdictOf(c.err); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// Every verdict but ok has a next step.
func TestFixOf(t *testing.T) {
	for _, v := range verdicts() {
		fix := fixOf(v, "example.com/m@v1.0.0")
		if want := v != Fine && v != Retracted; (fix != "") != want {
			t.Errorf("%s: got the fix %q", v, fix)
		}
		if strings.Contains(fix, "\n") {
			t.Errorf("%s: %q is more than one line", v, fix)
		}
	}
}

func TestLastFailures(t *testing.T) {
	probe := serve.Failure{Key: "example.com/a/b/@v/list", Module: "example.com/a/b", Status: http.StatusNotFound, Cause: "not_found"}
	old := serve.Failure{Key: "example.com/a/@v/v1.0.0.info", Module: "example.com/a", Version: "v1.0.0", Status: 502, Cause: "net_tls", Text: "x509"}
	zip := old
	zip.Key = "example.com/a/@v/v1.0.0.zip"
	if got := LastFailures([]serve.Failure{probe, old, zip}); len(got) != 1 || got[0].Key != zip.Key {
		t.Errorf("got %+v, want the newest of the version alone", got)
	}
	if got := LastFailures([]serve.Failure{probe}); len(got) != 1 {
		t.Errorf("got %+v, want the guess where there is nothing else", got)
	}
	got := ExplainFailure(serve.Failure{Module: "example.com/a", Version: "v1.0.0", Cause: "auth_sso", Text: "no", Hint: "open https://example.com/sso and then again"})
	if got.Verdict != AuthSSO || got.Fix != runnable(runtime.GOOS, "open https://example.com/sso") {
		t.Errorf("got %+v", got)
	}
	got = ExplainFailure(serve.Failure{Module: "example.com/a", Cause: "from a newer gomirror", Text: "x509: bad", Hint: "look at it"})
	if got.Verdict != NetTLS || got.Fix != "gomirror doctor --only network" {
		t.Errorf("got %+v", got)
	}
}

func TestPrefixes(t *testing.T) {
	for path, want := range map[string][]string{
		"github.com/acme/x/pkg": {"github.com/acme/x/pkg", "github.com/acme/x"},
		"github.com/acme":       nil,
		"example.com/a/v2/b":    {"example.com/a/v2/b", "example.com/a/v2", "example.com/a", "example.com"},
	} {
		if got := prefixes(path); !slices.Equal(got, want) {
			t.Errorf("prefixes(%q): got %q, want %q", path, got, want)
		}
	}
}

// explained explains a module with upstreams alone.
func explained(t *testing.T, o Options, text string) Explanation {
	t.Helper()
	target, err := ParseTarget(text)
	if err != nil {
		t.Fatal(err)
	}
	if o.Go == nil {
		o.Go = func() Go { return Go{} }
	}
	o.Daemon = func() Daemon { return Daemon{Running: true} }
	o.Plan = func() Plan { return Plan{} }
	o.Getenv, o.Now = func(string) string { return "" }, time.Now
	return Explain(t.Context(), o, target, func(Step) {})
}

// One upstream after the other, as in a pull: a private name reaches none.
func TestExplainUpstreams(t *testing.T) {
	good := proxytest.New(t, proxytest.Options{Fixtures: true})
	empty := proxytest.New(t, proxytest.Options{})
	down := proxytest.New(t, proxytest.Options{})
	down.Stop()
	private := Options{CacheDir: t.TempDir(), Upstream: good.URL, Private: []string{"example.invalid/secret"}}
	for _, c := range []struct {
		name, list, text string
		want             Verdict
	}{
		{"the second has it", empty.URL + "," + good.URL, "example.com/quote@v1.5.2", Fine},
		{"the first is down", down.URL + "|" + good.URL, "example.com/quote@v1.5.2", Fine},
		{"it is down", down.URL, "example.com/quote@v1.5.2", NetTCP},
		{"nobody has it", empty.URL + ",off", "example.com/quote@v1.5.2", NotFound},
		{"a list that is none", "ftp://x", "example.com/quote", UpstreamError},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := explained(t, Options{CacheDir: t.TempDir(), Upstream: c.list}, c.text)
			if got.Verdict != c.want || (got.Fix == "") != (c.want == Fine) {
				t.Errorf("got %s, fix %q: %s; want %s", got.Verdict, got.Fix, got.Text, c.want)
			}
		})
	}
	good.Forget()
	private.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }
	explained(t, private, "https://example.invalid/Secret/pkg")
	if log := good.Requests(); len(log) > 0 {
		t.Errorf("the upstream was asked %q", log)
	}
}

// What an alarm has set aside is told without a request.
func TestExplainQuarantine(t *testing.T) {
	dir := t.TempDir()
	note := `{"module":"example.com/m","version":"v1.0.0","upstream":"https://mirror.example.com","reason":"checksum mismatch for example.com/m"}`
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "quarantine"), 0o700), os.WriteFile(filepath.Join(dir, "quarantine", "a.json"), []byte(note), 0o600)); err != nil {
		t.Fatal(err)
	}
	got := explained(t, Options{CacheDir: dir, Offline: true}, "example.com/m@v1.0.0")
	if got.Verdict != ChecksumMismatch || got.Fix != "gomirror refresh example.com/m@v1.0.0" {
		t.Errorf("got %s, fix %q: %s", got.Verdict, got.Fix, got.Text)
	}
}

func FuzzParseRefs(f *testing.F) {
	f.Add([]byte("001e# service=git-upload-pack\n0000003d0123456789012345678901234567890123456789 refs/heads/main\n0000"))
	f.Fuzz(func(t *testing.T, body []byte) {
		refs, _ := parseRefs(body)
		for ref := range refs {
			if !strings.HasPrefix(ref, "refs/") {
				t.Errorf("ref %q", ref)
			}
		}
	})
}
