package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// bubbled is a test on the clock of a bubble.
func bubbled(test func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) { synctest.Test(t, test) }
}

// site is three module proxies that answer each request with a fixed status, and
// direct. asked lists who was asked, in the order of the first time. It is made in a
// bubble, where the waits of a chain take no time.
type site struct {
	urls    map[string]string // P1, P2, P3
	client  *http.Client
	answers map[string]string // name to "200", a status, "html", "cut"; of direct also "gone" or "fault"
	mu      sync.Mutex
	asked   []string
}

func newSite(t *testing.T, answers map[string]string) *site {
	t.Helper()
	var network pipes
	s := &site{urls: make(map[string]string), answers: answers}
	for _, name := range []string{"P1", "P2", "P3"} {
		host := strings.ToLower(name)
		t.Cleanup(network.host(host+":80", func(w http.ResponseWriter, r *http.Request) {
			s.ask(name)
			s.answer(w, answers[name], name)
		}))
		s.urls[name] = "http://" + host
	}
	client, err := upstream.NewClient(upstream.ClientOptions{Dial: network.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	s.client = client
	return s
}

func (s *site) ask(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.asked, name) {
		s.asked = append(s.asked, name)
	}
}

func (s *site) answer(w http.ResponseWriter, how, name string) {
	w.Header().Set("Content-Type", "text/plain")
	switch how {
	case "html":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "<html>sign in</html>")
	case "cut":
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "from "+name)
	case "reset":
		panic(http.ErrAbortHandler)
	case "200", "":
		io.WriteString(w, "from "+name)
	default:
		code := 0
		fmt.Sscan(how, &code)
		w.WriteHeader(code)
		fmt.Fprintf(w, "%s says %d\n", name, code)
	}
}

// Fetch makes site a source: direct.
func (s *site) Fetch(_ context.Context, req upstream.Request, sink upstream.Sink) error {
	s.ask("direct")
	switch s.answers["direct"] {
	case "gone":
		return fmt.Errorf("direct has no such tag: %w", fs.ErrNotExist)
	case "fault":
		return errors.New("direct can't run git")
	}
	return sink(req.Key, cache.Meta{Upstream: "direct"}, strings.NewReader("from direct"))
}

// chain makes a chain of a list that names P1, P2, P3.
func (s *site) chain(t *testing.T, list string, change func(*upstream.ChainOptions)) *upstream.Chain {
	t.Helper()
	for name, u := range s.urls {
		list = strings.ReplaceAll(list, name, u)
	}
	entries, err := upstream.ParseList(list)
	if err != nil {
		t.Fatal(err)
	}
	opts := upstream.ChainOptions{Entries: entries, Client: s.client, Direct: s}
	if change != nil {
		change(&opts)
	}
	chain, err := upstream.NewChain(opts)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func newClient(t *testing.T) *http.Client {
	t.Helper()
	client, err := upstream.NewClient(upstream.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func parseKey(t *testing.T, name string) cache.Key {
	t.Helper()
	key, err := cache.ParseKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// collect is a sink that takes every whole body.
func collect(got *string) upstream.Sink {
	return func(_ cache.Key, _ cache.Meta, body io.Reader) error {
		b, err := io.ReadAll(body)
		if err != nil {
			return fmt.Errorf("draft: %w", err)
		}
		*got = string(b)
		return nil
	}
}

// outcome puts a result into a word or two.
func outcome(got string, err error) string {
	var status *upstream.StatusError
	switch {
	case err == nil:
		return got
	case errors.Is(err, upstream.ErrNotModified):
		return "not modified"
	case errors.Is(err, fs.ErrNotExist):
		return "not found"
	case errors.As(err, &status):
		return fmt.Sprint(status.Code)
	case errors.As(err, new(*cache.InvalidError)):
		return "invalid"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "cut"
	}
	return err.Error()
}

const zipName = "example.com/m/@v/v1.0.0.zip"

func TestChainPasses(t *testing.T) {
	const deflt = true
	tests := []struct {
		name    string
		list    string
		deflt   bool
		answers map[string]string
		asked   string
		want    string
	}{
		{"first answers", "P1,P2,direct", false, nil, "P1", "from P1"},
		{"comma passes 404", "P1,P2", false, map[string]string{"P1": "404"}, "P1 P2", "from P2"},
		{"comma passes 410", "P1,P2", false, map[string]string{"P1": "410"}, "P1 P2", "from P2"},
		{"comma stops at 403", "P1,P2", false, map[string]string{"P1": "403"}, "P1", "403"},
		{"comma stops at 429", "P1,P2", false, map[string]string{"P1": "429"}, "P1", "429"},
		{"comma stops at 500", "P1,P2", false, map[string]string{"P1": "500"}, "P1", "500"},
		{"comma stops at 204", "P1,P2", false, map[string]string{"P1": "204"}, "P1", "204"},
		{"comma stops at 206", "P1,P2", false, map[string]string{"P1": "206"}, "P1", "206"},
		{"comma stops at an unasked 304", "P1,P2", false, map[string]string{"P1": "304"}, "P1", "304"},
		{"pipe passes 403", "P1|P2", false, map[string]string{"P1": "403"}, "P1 P2", "from P2"},
		{"pipe passes 500", "P1|P2", false, map[string]string{"P1": "500"}, "P1 P2", "from P2"},
		{"pipe passes 404", "P1|P2", false, map[string]string{"P1": "404"}, "P1 P2", "from P2"},
		{"pipe passes a dead connection", "P1|P2", false, map[string]string{"P1": "reset"}, "P1 P2", "from P2"},
		{"pipe then comma", "P1|P2,P3", false, map[string]string{"P1": "500", "P2": "500"}, "P1 P2", "500"},
		{"default passes 403", "P1,P2", deflt, map[string]string{"P1": "403"}, "P1 P2", "from P2"},
		{"default passes 451", "P1,P2", deflt, map[string]string{"P1": "451"}, "P1 P2", "from P2"},
		{"default passes 503", "P1,P2", deflt, map[string]string{"P1": "503"}, "P1 P2", "from P2"},
		{"default stops at 401", "P1,P2", deflt, map[string]string{"P1": "401"}, "P1", "401"},
		{"default stops at 429", "P1,P2", deflt, map[string]string{"P1": "429"}, "P1", "429"},
		{"comma passes HTML", "P1,P2", false, map[string]string{"P1": "html"}, "P1 P2", "from P2"},
		{"comma passes a cut body", "P1,P2", false, map[string]string{"P1": "cut"}, "P1 P2", "from P2"},
		{"HTML alone", "P1", false, map[string]string{"P1": "html"}, "P1", "invalid"},
		{"cut alone", "P1", false, map[string]string{"P1": "cut"}, "P1", "cut"},
		{"all not found", "P1,P2|P3", false, map[string]string{"P1": "404", "P2": "410", "P3": "404"}, "P1 P2 P3", "not found"},
		{"a fault beats not found", "P1|P2|P3", false, map[string]string{"P1": "404", "P2": "502", "P3": "404"}, "P1 P2 P3", "502"},
		{"of two faults the last", "P1|P2", false, map[string]string{"P1": "502", "P2": "403"}, "P1 P2", "403"},
		{"direct answers", "P1,direct", false, map[string]string{"P1": "404"}, "P1 direct", "from direct"},
		{"direct's not found beats a fault", "P1|direct", false, map[string]string{"P1": "500", "direct": "gone"}, "P1 direct", "not found"},
		{"direct's fault beats not found", "P1,direct", false, map[string]string{"P1": "404", "direct": "fault"}, "P1 direct", "direct can't run git"},
		{"off", "off", false, nil, "", "not found"},
		{"off behind not found", "P1,off", false, map[string]string{"P1": "404"}, "P1", "not found"},
		{"off behind a fault", "P1|off", false, map[string]string{"P1": "502"}, "P1", "502"},
	}
	for _, tt := range tests {
		t.Run(tt.name, bubbled(func(t *testing.T) {
			s := newSite(t, tt.answers)
			chain := s.chain(t, tt.list, func(o *upstream.ChainOptions) { o.Default = tt.deflt })
			var got string
			err := chain.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&got))
			if o := outcome(got, err); !strings.HasPrefix(o, tt.want) {
				t.Errorf("outcome is %q, want %q (%v)", o, tt.want, err)
			}
			if asked := strings.Join(s.asked, " "); asked != tt.asked {
				t.Errorf("asked %q, want %q", asked, tt.asked)
			}
		}))
	}
}

func TestChainAsksOncePerQuery(t *testing.T) {
	gone := map[string]string{"P1": "404", "P2": "404"}
	down := map[string]string{"P1": "503", "P2": "503"}
	const (
		list   = "example.com/m/sub/@v/list"
		latest = "example.com/m/sub/@latest"
		query  = "example.com/m/sub/@v/main.info"
		info   = "example.com/m/sub/@v/v1.0.0.info"
		mod    = "example.com/m/sub/@v/v1.0.0.mod"
		zip    = "example.com/m/sub/@v/v1.0.0.zip"
	)
	tests := []struct {
		name, list string
		answers    map[string]string
		known      []string
		origin     []string // known from direct
		keys       []string
		asked      string // for each key
	}{
		{"direct is for what is not probed", "P1,direct", gone, nil, nil, []string{mod, zip}, "P1 direct"},
		{"direct is not for probes", "P1,direct", gone, nil, nil, []string{list, latest, query, info}, "P1"},
		{"nor when the proxy is down", "P1|direct", down, nil, nil, []string{list, latest, query, info}, "P1"},
		{"direct is for what came from it", "P1,direct", gone, nil, []string{"example.com/m/sub"}, []string{list, latest, query, info, mod, zip}, "P1 direct"},
		{"direct is not for what a proxy has", "P1,direct", gone, []string{"example.com/m/sub"}, nil, []string{list, latest, query, info}, "P1"},
		{"direct is not for what is in a known module", "P1,direct", gone, []string{"example.com/m"}, nil, []string{list, latest, query, info}, "P1"},
		{"direct alone is for all", "direct", gone, nil, nil, []string{list, latest, query, info, mod, zip}, "direct"},
		{"a proxy's 404 passes", "P1,P2", gone, nil, nil, []string{list, latest, query, info, mod, zip}, "P1 P2"},
		{"a proxy's 404 inside a known module stands", "P1,P2", gone, []string{"example.com/m"}, nil, []string{list, latest, query, info}, "P1"},
		{"but not for files", "P1,P2", gone, []string{"example.com/m"}, nil, []string{mod, zip}, "P1 P2"},
		{"and not for a nested module that is known", "P1,P2", gone, []string{"example.com/m", "example.com/m/sub"}, nil, []string{list, info}, "P1 P2"},
		{"a host is no prefix that is a module", "P1,P2", gone, []string{"example.co", "example.com/m/su"}, nil, []string{list}, "P1 P2"},
		{"a fault does not stand", "P1|P2", down, []string{"example.com/m"}, nil, []string{list}, "P1 P2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, bubbled(func(t *testing.T) {
			s := newSite(t, tt.answers)
			chain := s.chain(t, tt.list, func(o *upstream.ChainOptions) {
				o.Known = func(modPath string) bool { return slices.Contains(slices.Concat(tt.known, tt.origin), modPath) }
				o.Origin = func(modPath string) bool { return slices.Contains(tt.origin, modPath) }
			})
			for _, name := range tt.keys {
				s.asked = nil
				var got string
				chain.Fetch(t.Context(), upstream.Request{Key: parseKey(t, name)}, collect(&got))
				if asked := strings.Join(s.asked, " "); asked != tt.asked {
					t.Errorf("for %s asked %q, want %q", name, asked, tt.asked)
				}
			}
		}))
	}
}

// A go get -u was measured to ask 422 lists that are 404.
func TestProbesStartNoChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, map[string]string{"P1": "404"})
		chain := s.chain(t, "P1,direct", nil)
		for i := range 422 {
			var got string
			key := parseKey(t, fmt.Sprintf("example.com/m/p%d/@v/list", i))
			if err := chain.Fetch(t.Context(), upstream.Request{Key: key}, collect(&got)); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("%s: %v, want not found", key, err)
			}
		}
		if slices.Contains(s.asked, "direct") {
			t.Error("direct was asked, want never")
		}
	})
}

func TestChainErrors(t *testing.T) {
	tests := []struct {
		name, list string
		answers    map[string]string
		want       string
	}{
		{"one upstream", "P1", map[string]string{"P1": "403"},
			"P1/example.com/m/@v/v1.0.0.zip answers 403 Forbidden: P1 says 403"},
		{"all not found", "P1,P2", map[string]string{"P1": "404", "P2": "410"},
			"example.com/m/@v/v1.0.0.zip: not found: P1 (404 Not Found: P1 says 404), P2 (410 Gone: P2 says 410)"},
		{"two faults", "P1|P2|P3", map[string]string{"P1": "500", "P2": "404", "P3": "403"},
			"P3/example.com/m/@v/v1.0.0.zip answers 403 Forbidden: P3 says 403; also asked: P1 (500 Internal Server Error: P1 says 500)"},
		{"HTML", "P1", map[string]string{"P1": "html"},
			"P1: bad answer for example.com/m/@v/v1.0.0.zip: P1/example.com/m/@v/v1.0.0.zip is a web page, not a module file; does this network want a sign-in?"},
		{"off", "P1,off", map[string]string{"P1": "404"},
			"example.com/m/@v/v1.0.0.zip: not found: P1 (404 Not Found: P1 says 404), off (module lookup disabled by GOPROXY=off)"},
		{"direct", "P1|direct", map[string]string{"P1": "500", "direct": "fault"},
			"direct can't run git; also asked: P1 (500 Internal Server Error: P1 says 500)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, bubbled(func(t *testing.T) {
			s := newSite(t, tt.answers)
			var body string
			err := s.chain(t, tt.list, nil).Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&body))
			if err == nil {
				t.Fatal("no error")
			}
			got := err.Error()
			for name, u := range s.urls {
				got = strings.ReplaceAll(got, u, name)
			}
			if got != tt.want {
				t.Errorf("error is\n%s, want\n%s", got, tt.want)
			}
		}))
	}
}

func TestDirectMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		chain := s.chain(t, "direct", func(o *upstream.ChainOptions) { o.Direct = nil })
		var got string
		err := chain.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&got))
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error is %v, want one that is not not-found", err)
		}
	})
}

// What our own disk says, or the end of all interest, is no reason to go on.
func TestSinkErrors(t *testing.T) {
	key := parseKey(t, zipName)
	tests := []struct {
		name  string
		err   error
		asked string
	}{
		{"disk full", &cache.FullError{Dir: "d", Err: errors.New("no space")}, "P1"},
		{"flight cancelled", fmt.Errorf("draft: %w", context.Canceled), "P1"},
		{"wrong bytes", &cache.ContradictionError{Key: key}, "P1 P2"},
		{"wrong form", errors.Join(&cache.InvalidError{Key: key}, fs.ErrNotExist), "P1 P2"},
		{"lost folder", &fs.PathError{Op: "open", Path: "d", Err: fs.ErrNotExist}, "P1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, bubbled(func(t *testing.T) {
			s := newSite(t, nil)
			err := s.chain(t, "P1,P2", nil).Fetch(t.Context(), upstream.Request{Key: key}, func(_ cache.Key, _ cache.Meta, body io.Reader) error {
				io.Copy(io.Discard, body)
				return tt.err
			})
			if asked := strings.Join(s.asked, " "); asked != tt.asked {
				t.Errorf("asked %q, want %q", asked, tt.asked)
			}
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error is %v, want one that is not not-found", err)
			}
			if full := (*cache.FullError)(nil); errors.As(tt.err, &full) && err != tt.err {
				t.Errorf("error is %v, want the sink's own", err)
			}
		}))
	}
}

// With the real store for a sink: a wrong answer of the first upstream leaves nothing
// behind, and the second one's is kept.
func TestWrongAnswerIntoStore(t *testing.T) {
	tests := []struct{ name, key, wrong, right string }{
		{"info of another version", "example.com/m/@v/v1.0.0.info", `{"Version":"v1.0.1"}`, `{"Version":"v1.0.0"}`},
		{"info that is no JSON", "example.com/m/@v/v1.0.0.info", "v1.0.0", `{"Version":"v1.0.0"}`},
		{"list with junk lines", "example.com/m/@v/list", "v1.0.0\n<junk>\n", "v1.0.0\n"},
		{"mod that is none", "example.com/m/@v/v1.0.0.mod", "<?xml version='1.0'?>", "module example.com/m\n"},
		{"list that is too large", "example.com/m/@v/list", strings.Repeat("v1.0.0\n", 1<<20), "v1.0.0\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store, err := cache.Open(cache.Options{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			serve := func(body string) *httptest.Server {
				srv := httptest.NewServer(status(200, "text/plain", body))
				t.Cleanup(srv.Close)
				return srv
			}
			first, second := serve(tt.wrong), serve(tt.right)
			key := parseKey(t, tt.key)
			sink := func(key cache.Key, meta cache.Meta, body io.Reader) error {
				draft, err := store.Draft(cache.Public, key)
				if err != nil {
					return err
				}
				defer draft.Discard()
				if _, err := draft.ReadFrom(body); err != nil {
					return err
				}
				if err := draft.Check(); err != nil {
					return err
				}
				draft.Judge(cache.Unverified)
				return draft.Commit(meta)
			}
			fetch := func(list string) error {
				entries, err := upstream.ParseList(list)
				if err != nil {
					t.Fatal(err)
				}
				chain, err := upstream.NewChain(upstream.ChainOptions{Entries: entries, Client: newClient(t)})
				if err != nil {
					t.Fatal(err)
				}
				return chain.Fetch(t.Context(), upstream.Request{Key: key}, sink)
			}
			if err := fetch(first.URL); outcome("", err) != "invalid" || !strings.HasPrefix(err.Error(), first.URL+": ") {
				t.Errorf("error is %v, want an invalid answer of %s", err, first.URL)
			}
			if entry, err := store.Get(cache.Public, key); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("store has %v, %v, want nothing", entry, err)
			}
			if err := fetch(first.URL + "," + second.URL); err != nil {
				t.Fatal(err)
			}
			entry, err := store.Get(cache.Public, key)
			if err != nil {
				t.Fatal(err)
			}
			defer entry.Close()
			if got, err := io.ReadAll(entry); err != nil || string(got) != tt.right {
				t.Errorf("store has %q, %v, want %q", got, err, tt.right)
			}
		})
	}
}

func TestChainCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, map[string]string{"P1": "404"})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var got string
		err := s.chain(t, "P1|P2", nil).Fetch(ctx, upstream.Request{Key: parseKey(t, zipName)}, collect(&got))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v, want context.Canceled", err)
		}
		if len(s.asked) > 0 {
			t.Errorf("asked %v, want nobody", s.asked)
		}
	})
}

func TestValidators(t *testing.T) {
	var saw []string
	handler := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			saw = append(saw, name+":"+r.Header.Get("If-None-Match")+":"+r.Header.Get("If-Modified-Since"))
			switch {
			case name == "first":
				w.WriteHeader(http.StatusNotFound)
			case r.Header.Get("If-None-Match") == `"two"`:
				w.WriteHeader(http.StatusNotModified)
			default:
				w.Header().Set("ETag", `"two"`)
				w.Header().Set("Last-Modified", "then")
				io.WriteString(w, "v1.0.0\n")
			}
		})
	}
	first, second := httptest.NewServer(handler("first")), httptest.NewServer(handler("second"))
	defer first.Close()
	defer second.Close()
	entries, err := upstream.ParseList(first.URL + "," + second.URL)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := upstream.NewChain(upstream.ChainOptions{Entries: entries, Client: newClient(t)})
	if err != nil {
		t.Fatal(err)
	}
	req := upstream.Request{Key: parseKey(t, "example.com/m/@v/list")}
	if err := chain.Fetch(t.Context(), req, func(_ cache.Key, meta cache.Meta, body io.Reader) error {
		req.Meta = meta
		_, err := io.Copy(io.Discard, body)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if req.Meta.Upstream != second.URL || req.Meta.Status != 200 || req.Meta.Fetched.IsZero() {
		t.Errorf("meta is %+v, want the second upstream's, 200, now", req.Meta)
	}
	if err := chain.Fetch(t.Context(), req, nil); !errors.Is(err, upstream.ErrNotModified) {
		t.Errorf("error is %v, want ErrNotModified", err)
	}
	want := []string{"first::", "second::", "first::", `second:"two":then`}
	if !slices.Equal(saw, want) {
		t.Errorf("upstreams saw %q, want %q", saw, want)
	}
}

func TestChainString(t *testing.T) {
	entries, err := upstream.ParseList("https://me:pw@a.example|file:///mods,direct")
	if err != nil {
		t.Fatal(err)
	}
	chain, err := upstream.NewChain(upstream.ChainOptions{Entries: entries})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := chain.String(), "https://a.example|file:///mods,direct"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if got, want := len(chain.Proxies()), 2; got != want {
		t.Errorf("%d proxies, want %d", got, want)
	}
	if chain, err := upstream.NewChain(upstream.ChainOptions{}); err == nil {
		t.Errorf("NewChain of nothing = %v, want an error", chain)
	}
}
