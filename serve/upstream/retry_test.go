package upstream_test

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/proxytest"
	"github.com/gomirror/gomirror/serve/upstream"
)

// busy answers 429 with a Retry-After.
func busy(after string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", after)
		w.WriteHeader(http.StatusTooManyRequests)
	}
}

func TestTries(t *testing.T) {
	s := time.Second
	after := func(d time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			busy(time.Now().Add(d).UTC().Format(http.TimeFormat))(w, r)
		}
	}
	fine := text("fine")
	many := slices.Repeat([]time.Duration{0}, 8)
	tests := []struct {
		name  string
		steps []http.HandlerFunc
		quick bool
		at    []time.Duration
		want  string // outcome
		text  string // end of the error
	}{
		{"503 seven times", append(slices.Repeat([]http.HandlerFunc{status(503, "", "")}, 7), fine), false, many, "fine", ""},
		{"503 for ever", []http.HandlerFunc{status(503, "text/plain", "down")}, false, many, "503", "answers 503 Service Unavailable: down (8 tries)"},
		{"503 twice, quick", []http.HandlerFunc{status(503, "", "")}, true, many[:2], "503", "(2 tries)"},
		{"408", []http.HandlerFunc{status(408, "", ""), fine}, false, many[:2], "fine", ""},
		{"500", []http.HandlerFunc{status(500, "", ""), fine}, false, many[:2], "fine", ""},
		{"504", []http.HandlerFunc{status(504, "", ""), fine}, false, many[:2], "fine", ""},
		{"reset", []http.HandlerFunc{func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fine}, false, many[:2], "fine", ""},
		{"429 for a while", []http.HandlerFunc{busy("7"), busy("20"), fine}, false, []time.Duration{0, 7 * s, 27 * s}, "fine", ""},
		{"429 until a time", []http.HandlerFunc{after(10 * s), after(60 * s), fine}, false, []time.Duration{0, 10 * s, 70 * s}, "fine", ""},
		{"429 until a time that is over", []http.HandlerFunc{after(-10 * s), fine}, false, many[:2], "fine", ""},
		{"429 until nonsense", []http.HandlerFunc{busy("soon"), fine}, false, many[:2], "fine", ""},
		{"429 for two hours", []http.HandlerFunc{busy("7200")}, false, many[:1], "429", "answers 429 Too Many Requests; not to be asked again for 2h0m0s"},
		{"429 for 7 s, quick", []http.HandlerFunc{busy("7")}, true, many[:1], "429", "answers 429 Too Many Requests"},
		{"503 and then 429 for an hour", []http.HandlerFunc{status(503, "", ""), busy("3600")}, false, many[:2], "429", "; not to be asked again for 1h0m0s (2 tries)"},
		{"503 and then 404", []http.HandlerFunc{status(503, "", ""), status(404, "", "")}, false, many[:2], "not found", "404 Not Found"},
		{"404", []http.HandlerFunc{status(404, "", "")}, false, many[:1], "not found", ""},
		{"410", []http.HandlerFunc{status(410, "", "")}, false, many[:1], "not found", ""},
		{"401", []http.HandlerFunc{status(401, "", "")}, false, many[:1], "401", ""},
		{"403", []http.HandlerFunc{status(403, "", "")}, false, many[:1], "403", ""},
		{"451", []http.HandlerFunc{status(451, "", "")}, false, many[:1], "451", ""},
		{"501", []http.HandlerFunc{status(501, "", "")}, false, many[:1], "501", ""},
		{"505", []http.HandlerFunc{status(505, "", "")}, false, many[:1], "505", ""},
		{"508", []http.HandlerFunc{status(508, "", "")}, false, many[:1], "508", ""},
		{"a page", []http.HandlerFunc{status(200, "text/html", "")}, false, many[:1], "invalid", ""},
		{"a redirect in a circle", []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}}, false, many[:1], "invalid", ""},
	}
	for _, tt := range tests {
		for _, scheme := range []string{"http", "https"} {
			t.Run(tt.name+" over "+scheme, func(t *testing.T) {
				inBubble(t, scheme, tt.steps, func(t *testing.T, s *script, proxy *upstream.Proxy) {
					ctx := t.Context()
					if tt.quick {
						ctx = upstream.WithQuick(ctx)
					}
					var body string
					err := proxy.Fetch(ctx, upstream.Request{Key: parseKey(t, zipName)}, collect(&body))
					if got := outcome(body, err); got != tt.want {
						t.Errorf("outcome is %q, want %q (%v)", got, tt.want, err)
					}
					if err != nil && !strings.HasSuffix(err.Error(), tt.text) {
						t.Errorf("error is\n%v, want it to end in\n%s", err, tt.text)
					}
					if !slices.Equal(s.at, tt.at) {
						t.Errorf("asked at %v, want %v", s.at, tt.at)
					}
				})
			})
		}
	}
}

// Who asks for a small file asks on by itself: a fault that passes at once is not
// shown, and no more.
func TestGetIsQuick(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []http.HandlerFunc
		asked int
		want  string // of the error
	}{
		{"503 once", []http.HandlerFunc{status(503, "", ""), text("fine")}, 2, ""},
		{"503 for ever", []http.HandlerFunc{status(503, "", "")}, 2, "answers 503 Service Unavailable (2 tries)"},
		{"403", []http.HandlerFunc{status(403, "", "")}, 1, "answers 403 Forbidden"},
		{"cut once", []http.HandlerFunc{silent(5), text("fine")}, 2, ""},
		{"silence once", []http.HandlerFunc{silent(0), text("fine")}, 2, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, "http", tt.steps, func(t *testing.T, s *script, proxy *upstream.Proxy) {
				small, err := proxy.Get(t.Context(), "sumdb/x/supported")
				if tt.want == "" && (err != nil || string(small) != "fine") {
					t.Errorf("Get = %q, %v, want fine", small, err)
				}
				if tt.want != "" && (err == nil || !strings.HasSuffix(err.Error(), tt.want)) {
					t.Errorf("error is %v, want it to end in %s", err, tt.want)
				}
				if len(s.at) != tt.asked {
					t.Errorf("asked %d times, want %d", len(s.at), tt.asked)
				}
			})
		})
	}
}

// The time between two tries doubles, and is not the same for all who were cut off at
// once.
func TestBackoff(t *testing.T) {
	first := make(map[time.Duration]bool)
	for range 5 {
		var at []time.Duration
		inBubble(t, "http", []http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }},
			func(t *testing.T, s *script, proxy *upstream.Proxy) {
				s.steps = append(s.steps, func(w http.ResponseWriter, _ *http.Request) {
					at = append(at, time.Since(s.start))
					w.WriteHeader(503)
				})
				u, err := url.Parse(proxy.Name())
				if err != nil {
					t.Fatal(err)
				}
				patient := upstream.NewProxy(u, s.client, "")
				if err := patient.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, nil); err == nil {
					t.Error("no error")
				}
			})
		if len(at) != 7 {
			t.Fatalf("tried %d times after the first, want 7", len(at))
		}
		first[at[0]] = true
		last := time.Duration(0)
		for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 5000} {
			want *= time.Millisecond
			if wait := at[i] - last; wait < want/2 || wait > want*3/2+time.Millisecond {
				t.Errorf("wait %d is %v, want %v give or take the half", i+1, wait, want)
			}
			last = at[i]
		}
	}
	if len(first) == 1 {
		t.Errorf("five pulls wait for the same time, %v", first)
	}
}

// A port on which nobody listens now may have somebody in a moment.
func TestDialIsTriedAgain(t *testing.T) {
	addr := proxytest.ClosedPort(t)
	proxy := newProxy(t, "http://"+addr, newClient(t))
	err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, nil)
	if err == nil || !upstream.Unreachable(err) || !strings.HasPrefix(err.Error(), "fetch "+zipName+" from http://"+addr+": dial tcp") ||
		!strings.HasSuffix(err.Error(), "(8 tries)") {
		t.Errorf("error is %v, want that of 8 dials", err)
	}
}

// A reset connection is no answer.
func TestResetIsTriedAgain(t *testing.T) {
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked > 3 {
			w.Write([]byte("fine"))
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}))
	defer srv.Close()
	var body string
	err := newProxy(t, srv.URL, newClient(t)).Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&body))
	if err != nil || body != "fine" {
		t.Errorf("body is %q, %v", body, err)
	}
}

// A disk that has no file has none a moment later.
func TestFileIsTriedOnce(t *testing.T) {
	proxy := newProxy(t, "file://"+strings.ReplaceAll(t.TempDir(), `\`, "/"), nil)
	start := time.Now()
	err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, nil)
	if !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "tries") || time.Since(start) > time.Second {
		t.Errorf("error is %v after %v, want not found at once", err, time.Since(start))
	}
}

// An upstream that fails time and again is left alone for a while: who holds something,
// or has another to ask, is told so at once, who does not waits for the probe.
func TestBreakerIsWaitedFor(t *testing.T) {
	abort := func(_ http.ResponseWriter, r *http.Request) {
		wait(r, 200*time.Millisecond) // what comes at once counts as one
		panic(http.ErrAbortHandler)
	}
	for _, tt := range []struct {
		name        string
		broken      int // answers
		least, most time.Duration
		want        string
	}{
		{"it is back", 5, 15 * time.Second, 20 * time.Second, "fine"},
		{"it is not", 100, 30 * time.Second, 45 * time.Second, "EOF (7 tries)"}, // two probes
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, "http", append(slices.Repeat([]http.HandlerFunc{abort}, tt.broken), text("fine")), func(t *testing.T, s *script, proxy *upstream.Proxy) {
				u, err := url.Parse(proxy.Name())
				if err != nil {
					t.Fatal(err)
				}
				patient := upstream.NewProxy(u, s.client, "")
				key := parseKey(t, zipName)
				var others sync.WaitGroup
				defer others.Wait()
				others.Go(func() {
					time.Sleep(10 * time.Second) // the bubble's
					start, asked := time.Now(), s.asked()
					err := patient.Fetch(t.Context(), upstream.Request{Key: key, Meta: cache.Meta{Upstream: "any"}}, nil)
					quickErr := patient.Fetch(upstream.WithQuick(t.Context()), upstream.Request{Key: key}, nil)
					if err == nil || quickErr == nil || time.Since(start) > 0 || s.asked() > asked {
						t.Errorf("errors are %v, %v after %v and %d requests, want two at once", err, quickErr, time.Since(start), s.asked()-asked)
					}
				})
				start := time.Now()
				var body string
				err = patient.Fetch(t.Context(), upstream.Request{Key: key}, collect(&body))
				if err != nil {
					body = err.Error()
				}
				if !strings.HasSuffix(body, tt.want) {
					t.Errorf("got %q, want %q", body, tt.want)
				}
				if took := time.Since(start); took < tt.least || took > tt.most {
					t.Errorf("took %v, want %v to %v", took, tt.least, tt.most)
				}
			})
		})
	}
}
