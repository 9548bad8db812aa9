package sumdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomirror/gomirror/serve/upstream"
)

// fakeRemote answers after a while, with what do says.
type fakeRemote struct {
	name  string
	after time.Duration // negative: never
	do    func(path string) error

	mu    sync.Mutex
	asked []string
}

func (f *fakeRemote) Name() string { return f.name }

func (f *fakeRemote) Get(ctx context.Context, path string) ([]byte, error) {
	f.mu.Lock()
	f.asked = append(f.asked, path)
	f.mu.Unlock()
	var wait <-chan time.Time
	if f.after >= 0 {
		wait = time.After(f.after)
	}
	select {
	case <-wait:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if f.do != nil {
		if err := f.do(path); err != nil {
			return nil, err
		}
	}
	return []byte(f.name), nil
}

func (f *fakeRemote) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

func newReach(t *testing.T, proxies, direct []*fakeRemote) *reach {
	r := &reach{
		ctx: t.Context(), name: "sum.example.com/db", now: time.Now,
		persist: persistFor, log: slog.New(slog.DiscardHandler), health: map[string]*health{},
		proxies: func() (all []Remote) {
			for _, p := range proxies {
				all = append(all, p)
			}
			return all
		},
	}
	for _, d := range direct {
		r.direct = append(r.direct, d)
	}
	return r
}

func ask(r *reach) (string, time.Duration, error) {
	start := time.Now()
	_, from, err := r.fetch(context.Background(), "tile/8/0/000", func([]byte) error { return nil })
	return from, time.Since(start), err
}

func status(code int) func(string) error {
	return func(string) error { return &upstream.StatusError{URL: "https://fake.example.com", Code: code} }
}

func never(name string) *fakeRemote { return &fakeRemote{name: name, after: -1} }

func TestFetchOrder(t *testing.T) {
	quick := func(name string) *fakeRemote { return &fakeRemote{name: name} }
	noRelay := &fakeRemote{name: "athens", do: status(404)}
	unreachable := func(string) error { return noSuchHost() }
	for _, tc := range []struct {
		name            string
		proxies, direct []*fakeRemote
		first, second   string        // who answers the first and the second time
		wait, again     time.Duration // and how long that takes
		fails           string        // part of the error, if nobody answers
	}{
		{name: "proxies first", proxies: []*fakeRemote{quick("p1"), quick("p2")}, direct: []*fakeRemote{quick("d")}, first: "p1", second: "p1"},
		{name: "a proxy that relays no databases", proxies: []*fakeRemote{noRelay}, direct: []*fakeRemote{quick("d")}, first: "d", second: "d"},
		{name: "address in GOSUMDB before the name", direct: []*fakeRemote{quick("url"), quick("name")}, first: "url", second: "url"},
		{name: "black-holed proxy", proxies: []*fakeRemote{never("p1")}, direct: []*fakeRemote{quick("d")}, first: "d", second: "d", wait: hedgeAfter},
		{name: "black-holed database", proxies: []*fakeRemote{quick("p1")}, direct: []*fakeRemote{never("d")}, first: "p1", second: "p1"},
		{name: "proxy that takes no connection", proxies: []*fakeRemote{{name: "p1", do: unreachable}}, direct: []*fakeRemote{quick("d")}, first: "d", second: "d"},
		{name: "proxy that answers 503", proxies: []*fakeRemote{{name: "p1", do: status(503)}}, direct: []*fakeRemote{quick("d")}, first: "d", second: "d"},
		{name: "slow, and the only one", direct: []*fakeRemote{{name: "d", after: 5 * time.Second}}, first: "d", second: "d", wait: 5 * time.Second, again: 5 * time.Second},
		{name: "all slow: the first good answer", direct: []*fakeRemote{{name: "url", after: 9 * time.Second}, {name: "name", after: 3 * time.Second}}, first: "name", second: "name", wait: 5 * time.Second, again: 3 * time.Second},
		{name: "as slow as the default database for an unknown version", direct: []*fakeRemote{{name: "d", after: time.Minute}}, first: "d", second: "d", wait: time.Minute, again: time.Minute},
		{name: "all black-holed", proxies: []*fakeRemote{never("p1")}, direct: []*fakeRemote{never("d")}, wait: answerLimit, again: probeLimit, fails: "p1: no answer in"},
		{name: "none takes a connection", direct: []*fakeRemote{{name: "d", do: unreachable}}, fails: "no host nowhere"},
		{name: "no such record, says the slow database", direct: []*fakeRemote{{name: "d", after: 3 * time.Second, do: status(404)}}, wait: 3 * time.Second, again: 3 * time.Second, fails: "404"},
		{name: "no such record, and a second says so", proxies: []*fakeRemote{{name: "p1", do: notFoundBelow}}, direct: []*fakeRemote{{name: "d", do: status(410)}}, fails: "404"},
		// The database's own word is waited for, once for as long as a commit waits: it was
		// as long as a hedge, and then the relay's word was taken for it.
		{name: "no such record, and the second is black-holed", proxies: []*fakeRemote{{name: "p1", do: notFoundBelow}}, direct: []*fakeRemote{never("d")}, wait: fairTime, fails: "404"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReach(t, tc.proxies, tc.direct)
				for i, want := range []struct {
					from string
					wait time.Duration
				}{{tc.first, tc.wait}, {tc.second, tc.again}} {
					from, took, err := ask(r)
					if from != want.from || took != want.wait {
						t.Errorf("question %d: got %q after %v, want %q after %v (%v)", i+1, from, took, want.from, want.wait, err)
					}
					if (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
						t.Errorf("question %d: got error %v, want %q", i+1, err, tc.fails)
					}
					if got, want := r.outOfReach(), tc.fails != "" && tc.fails != "404"; got != want {
						t.Errorf("question %d: got out of reach %v, want %v", i+1, got, want)
					}
				}
			})
		})
	}
}

// TestRelayHasNone is a relay that does not have what the database may have: its word
// settles nothing.
func TestRelayHasNone(t *testing.T) {
	unreachable := func(string) error { return noSuchHost() }
	for _, tc := range []struct {
		name   string
		direct []*fakeRemote
		absent bool
		from   string
		wait   time.Duration // of each question
		next   time.Duration // of the second, if not the same
	}{
		{"database at once", []*fakeRemote{{name: "d"}}, false, "d", 0, 0},
		{"slow database", []*fakeRemote{{name: "d", after: 3 * time.Second}}, false, "d", 3 * time.Second, 3 * time.Second},
		{"slower database", []*fakeRemote{{name: "d", after: 9 * time.Second}}, false, "d", 9 * time.Second, 9 * time.Second},
		{"address in GOSUMDB black-holed", []*fakeRemote{never("url"), {name: "d", after: 3 * time.Second}}, false, "d", 5 * time.Second, 3 * time.Second},
		{"database has none", []*fakeRemote{{name: "d", after: 3 * time.Second, do: status(410)}}, true, "", 3 * time.Second, 3 * time.Second},
		{"database away", []*fakeRemote{{name: "d", do: unreachable}}, false, "", 0, 0},
		{"database refuses", []*fakeRemote{{name: "d", do: status(403)}}, false, "", 0, 0},
		{"database black-holed", []*fakeRemote{never("d")}, false, "", fairTime, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReach(t, []*fakeRemote{{name: "p", do: notFoundBelow}}, tc.direct)
				for i, wait := range []time.Duration{tc.wait, tc.next} {
					from, took, err := ask(r)
					if from != tc.from || took != wait || errors.Is(err, fs.ErrNotExist) != tc.absent {
						t.Errorf("question %d: got %q after %v, %v, want %q after %v, absent %v", i+1, from, took, err, tc.from, wait, tc.absent)
					}
					var none *reachError
					if tc.from == "" && !tc.absent && (!errors.As(err, &none) || !none.answered) {
						t.Errorf("question %d: got %v, want an error of reach", i+1, err)
					}
					synctest.Wait()
				}
			})
		})
	}
}

// TestRelayHasNoneBurst has a question begin while the database keeps others waiting.
func TestRelayHasNoneBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeRemote{name: "d", after: 3 * time.Second}
		r := newReach(t, []*fakeRemote{{name: "p", do: notFoundBelow}}, []*fakeRemote{d})
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 500 * time.Millisecond) // the bubble's clock
				if from, took, err := ask(r); from != "d" || took > d.after {
					t.Errorf("question %d: got %q after %v, %v", i, from, took, err)
				}
			})
		}
		time.Sleep(hedgeAfter + time.Millisecond)
		if r.down() {
			t.Error("down though nobody has asked twice")
		}
		wg.Wait()
	})
}

func noSuchHost() error {
	_, err := host{}.client(nil).Get("https://nowhere.example.com")
	return err
}

// notFoundBelow relays the database, and has nothing.
func notFoundBelow(path string) error {
	if strings.HasSuffix(path, "/supported") {
		return nil
	}
	return status(404)(path)
}

// TestBlackHoleOnce has many questions at once meet a black hole: they wait together,
// and nobody waits afterwards until the bench is over.
func TestBlackHoleOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hole := never("p1")
		r := newReach(t, []*fakeRemote{hole}, []*fakeRemote{{name: "d", after: 10 * time.Millisecond}})
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 90 * time.Millisecond) // the bubble's clock
				if from, _, err := ask(r); from != "d" {
					t.Errorf("got %q, %v", from, err)
				}
			})
		}
		wg.Wait()
		if got, limit := time.Since(start), hedgeAfter+50*time.Millisecond; got > limit {
			t.Errorf("got all answers after %v, want within %v", got, limit)
		}
		asked := hole.count()
		if _, took, _ := ask(r); took > 10*time.Millisecond {
			t.Errorf("benched: got an answer after %v", took)
		}
		if hole.count() != asked {
			t.Error("a benched remote was asked while another answers")
		}
		time.Sleep(benchFor)
		if _, took, _ := ask(r); took != hedgeAfter+10*time.Millisecond {
			t.Errorf("bench over: got an answer after %v", took)
		}
	})
}

// TestSupported remembers yes and no for an hour and faults not at all. A good answer to
// the question itself is a yes.
func TestSupported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fault, other error // to /supported, and to the rest
		probes := 0
		p := &fakeRemote{name: "p", do: func(path string) error {
			if strings.HasSuffix(path, "/supported") {
				probes++
				return fault
			}
			return other
		}}
		r := newReach(t, []*fakeRemote{p}, []*fakeRemote{{name: "d"}})
		reset := errors.New("connection reset")
		for _, tc := range []struct {
			name         string
			fault, other error
			wait         time.Duration
			from         string
			asked        int // of p, in all
			probes       int
		}{
			{"fault", nil, reset, 0, "d", 1, 0},
			{"no such tile, and no word whether it relays", reset, status(404)(""), 0, "d", 3, 1},
			{"works again", reset, nil, 0, "p", 4, 1},
			{"remembered", nil, status(404)(""), relaysFor - time.Second, "d", 5, 1},
			{"an hour later it has gone", status(404)(""), status(404)(""), relaysFor, "d", 7, 2},
			{"remembered", nil, nil, time.Minute, "d", 7, 2},
			{"and is back", nil, nil, relaysFor, "p", 8, 2},
			{"relays, and has no such tile", nil, status(404)(""), 2 * relaysFor, "d", 10, 3},
			{"remembered", status(404)(""), nil, time.Minute, "p", 11, 3},
			{"wants a sign-in", status(401)(""), status(401)(""), 2 * relaysFor, "d", 13, 4},
			{"remembered", nil, nil, time.Minute, "d", 13, 4},
		} {
			fault, other = tc.fault, tc.other
			time.Sleep(tc.wait)
			from, _, err := ask(r)
			synctest.Wait()
			if from != tc.from || probes != tc.probes || p.count() != tc.asked {
				t.Errorf("%s: got %q after %d questions, %d probes (%v), want %q after %d, %d", tc.name, from, p.count(), probes, err, tc.from, tc.asked, tc.probes)
			}
		}
		if want := "sumdb/sum.example.com/db/supported"; !slices.Contains(p.asked, want) {
			t.Errorf("got questions %q, want %q", p.asked, want)
		}
	})
}

// TestNoProbe takes one round trip for the first question, and lets a proxy that does
// not relay cost two, once.
func TestNoProbe(t *testing.T) {
	const trip = 100 * time.Millisecond
	for _, tc := range []struct {
		name  string
		proxy *fakeRemote
		from  string
		first time.Duration
		asked int
	}{
		{"relays", &fakeRemote{name: "p", after: trip}, "p", trip, 20},
		{"does not", &fakeRemote{name: "p", after: trip, do: status(404)}, "d", 3 * trip, 1 + 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReach(t, []*fakeRemote{tc.proxy}, []*fakeRemote{{name: "d", after: trip}})
				for _, want := range []time.Duration{tc.first, trip} {
					var wg sync.WaitGroup
					for range 10 {
						wg.Go(func() {
							if from, took, err := ask(r); from != tc.from || took != want {
								t.Errorf("got %q after %v (%v), want %q after %v", from, took, err, tc.from, want)
							}
						})
					}
					wg.Wait()
				}
				if got := tc.proxy.count(); got != tc.asked {
					t.Errorf("got %d questions to the proxy, want %d", got, tc.asked)
				}
			})
		})
	}
}

// TestBadAnswer passes by a remote whose answer is no answer.
func TestBadAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReach(t, []*fakeRemote{{name: "portal"}}, []*fakeRemote{{name: "d"}})
		accept := func(data []byte) error {
			if string(data) == "portal" {
				return fmt.Errorf("a web page")
			}
			return nil
		}
		if _, from, err := r.fetch(t.Context(), "latest", accept); from != "d" {
			t.Errorf("got %q, %v", from, err)
		}
	})
}

func TestOffline(t *testing.T) {
	d := &fakeRemote{name: "d"}
	r := newReach(t, nil, []*fakeRemote{d})
	r.offline = true
	if _, _, err := ask(r); err != errOffline || d.count() > 0 || !r.down() {
		t.Errorf("got %v and %d questions", err, d.count())
	}
}

// TestAbsentIsNotFound keeps silence and "not found" apart.
func TestAbsentIsNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			remote *fakeRemote
			want   bool
		}{
			{never("d"), false},
			{&fakeRemote{name: "d", do: status(500)}, false},
			{&fakeRemote{name: "d", do: status(404)}, true},
			{&fakeRemote{name: "d", do: status(410)}, true},
		} {
			_, _, err := ask(newReach(t, nil, []*fakeRemote{tc.remote}))
			if got := errors.Is(err, fs.ErrNotExist); got != tc.want {
				t.Errorf("%v: got not found %v, want %v", err, got, tc.want)
			}
		}
	})
}

// TestImpatientClient gives up early, which says nothing about the remotes.
func TestImpatientClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReach(t, nil, []*fakeRemote{{name: "d", after: 3 * time.Second}})
		ask(r) // it is alive
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := r.fetch(ctx, "latest", func([]byte) error { return nil })
		if !errors.Is(err, context.DeadlineExceeded) || r.outOfReach() || r.down() {
			t.Errorf("got %v, out of reach %v, down %v", err, r.outOfReach(), r.down())
		}
	})
}
