package mirror

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// speech is what upstreams say one after the other, to one request.
type speech []word

type word struct {
	upstream string
	body     []byte
}

func (s speech) Fetch(_ context.Context, req upstream.Request, sink upstream.Sink) error {
	var err error
	for _, w := range s {
		err = sink(req.Key, cache.Meta{Upstream: w.upstream, Status: 200}, bytes.NewReader(w.body))
	}
	return err
}

// Alarms are about last words: a body that was put together from two answers is fetched
// once more, and who is asked next does not speak for who was asked before.
func TestContradictionsStandOnceLast(t *testing.T) {
	right, wrong, torn := zipOf(t, "v1.0.0", "right"), zipOf(t, "v1.0.0", "wrong"), []byte("not a zip")
	tests := []struct {
		name   string
		speech speech
		served bool
		alarms []string // who is named
	}{
		{"right", speech{{"a", right}}, true, nil},
		{"wrong, and right when fetched whole", speech{{"a", wrong}, {"a", right}}, true, nil},
		{"wrong twice", speech{{"a", wrong}, {"a", wrong}}, false, []string{"a"}},
		{"wrong, then nothing of sense", speech{{"a", wrong}, {"a", torn}}, false, nil},
		{"wrong, and another one is right", speech{{"a", wrong}, {"b", right}}, true, []string{"a"}},
		{"right at last, and another one was wrong", speech{{"a", wrong}, {"b", wrong}, {"a", right}}, true, []string{"b"}},
	}
	for _, authority := range []string{"the database", "the first download"} {
		for _, tt := range tests {
			t.Run(authority+": "+tt.name, func(t *testing.T) {
				m := newMirror(t, nil, func(o *Options) {
					o.Source = tt.speech
					if authority == "the database" {
						o.Verify = func(_ context.Context, key cache.Key, d *cache.Draft) error {
							if want := sum(t, o.Store, right); d.H1() != want {
								return &cache.ContradictionError{Key: key, Got: d.H1(), Want: want, Authority: authority}
							}
							return nil
						}
					}
				})
				if authority == "the first download" {
					firstDownload(t, m.opts.Store, right)
				}
				text, _, err := get(t, m, zipKey)
				if served := err == nil && text == string(right); served != tt.served {
					t.Errorf("served %t, %v; want %t", served, err, tt.served)
				}
				if err := m.Close(); err != nil { // an alarm may follow the answer
					t.Fatal(err)
				}
				notes, err := m.opts.Store.Quarantined()
				var named []string
				for _, n := range notes {
					named = append(named, n.Upstream)
				}
				if err != nil || strings.Join(named, " ") != strings.Join(tt.alarms, " ") {
					t.Errorf("set aside: %q, %v; want %q", named, err, tt.alarms)
				}
			})
		}
	}
}

// sum returns the h1 of a zip.
func sum(t *testing.T, s *cache.Store, body []byte) string {
	t.Helper()
	d, err := s.Draft(cache.Public, key(t, zipKey))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Discard()
	if _, err := d.ReadFrom(bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	return d.H1()
}

// firstDownload has the ledger know a zip that is not held any more.
func firstDownload(t *testing.T, s *cache.Store, body []byte) {
	t.Helper()
	d, err := s.Draft(cache.Private, key(t, zipKey))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Discard()
	if _, err := d.ReadFrom(bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Check(), d.Commit(cache.Meta{Upstream: "first"})); err != nil {
		t.Fatal(err)
	}
}

// What has run out is named: a user who frees space for want of files gets nowhere.
func TestFullIsNamed(t *testing.T) {
	for fault, want := range map[error]string{
		syscall.ENOSPC: "disk is full: served, not kept",
		syscall.EMFILE: "too many open files: served, not kept",
		syscall.EROFS:  "disk is read-only: served, not kept",
	} {
		var log bytes.Buffer
		m := newMirror(t, nil, func(o *Options) {
			o.Source = speech{{"a", zipOf(t, "v1.0.0", "x")}}
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			o.Verify = func(context.Context, cache.Key, *cache.Draft) error {
				return &cache.FullError{Dir: "x", Err: &fs.PathError{Op: "open", Path: "x", Err: fault}}
			}
		})
		if _, _, err := get(t, m, zipKey); err != nil {
			t.Errorf("%v: not served: %v", fault, err)
		}
		if !strings.Contains(log.String(), want) {
			t.Errorf("%v: the log says %q, want %q", fault, log.String(), want)
		}
	}
}

// heard is a source that tells what was said of its answer.
type heard struct {
	speech
	said error
}

func (h *heard) Fetch(ctx context.Context, req upstream.Request, sink upstream.Sink) error {
	h.said = h.speech.Fetch(ctx, req, sink)
	return h.said
}

// What is answered before the disk has it is answered once: nobody else is asked for it
// when the disk then does not take it.
func TestServedBeforeTheDiskFails(t *testing.T) {
	var log bytes.Buffer
	source := &heard{speech: speech{{"a", []byte("module example.com/m\n")}}}
	m := newMirror(t, nil, func(o *Options) {
		o.Source = source
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		o.Verify = func(_ context.Context, k cache.Key, _ *cache.Draft) error {
			if k.Kind() != cache.Info {
				return nil
			}
			// A file where the folder of the versions was.
			folder := filepath.Join(o.Store.Dir(), string(cache.Public), "example.com/m/@v")
			return errors.Join(os.RemoveAll(folder), os.WriteFile(folder, nil, 0o600))
		}
	})
	// The version is known by now, so that nothing is left to be written but the .info.
	if _, _, err := get(t, m, modKey); err != nil {
		t.Fatal(err)
	}
	m.flights.aloft.Wait()
	source.speech, source.said = speech{{"a", info("v1.0.0")}}, errors.New("nothing")
	text, state, err := get(t, m, infoKey)
	if text != string(info("v1.0.0")) || state != Miss || err != nil {
		t.Errorf("got %q, %s, %v; want it served as a miss", text, state, err)
	}
	if err := m.Close(); err != nil { // the answer comes first
		t.Fatal(err)
	}
	if source.said != nil {
		t.Errorf("the source is told %v, so that another one is asked", source.said)
	}
	if got := log.String(); !strings.Contains(got, "served, not kept") || strings.Contains(got, "panic") {
		t.Errorf("the log says %q, want that it is not kept", got)
	}
	if _, err := m.opts.Store.Get(cache.Public, key(t, infoKey)); err == nil {
		t.Error("it is kept all the same")
	}
}

// A verdict that was put off is for what the cache has.
func TestSettleFollowsTheCommit(t *testing.T) {
	settled := make(chan cache.Key, 1)
	m := newMirror(t, nil, func(o *Options) {
		o.Source = speech{{"a", zipOf(t, "v1.0.0", "x")}}
		o.Verify = func(_ context.Context, _ cache.Key, draft *cache.Draft) error {
			draft.Judge(cache.Unverified)
			return nil
		}
		o.Settle = func(k cache.Key) {
			if meta, err := o.Store.VersionMeta(k.Module()); err != nil || meta.H1 == "" {
				t.Errorf("to be settled is %+v, %v", meta, err)
			}
			settled <- k
		}
	})
	if _, state, err := get(t, m, zipKey); err != nil || state != Miss {
		t.Fatalf("got %s, %v", state, err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case k := <-settled:
		if k != key(t, zipKey) {
			t.Errorf("settled %s", k)
		}
	default:
		t.Error("nothing was settled")
	}
}

// What could not be kept is to be settled too, if only to be forgotten.
func TestSettleFollowsAFailure(t *testing.T) {
	var settled []string
	m := newMirror(t, nil, func(o *Options) {
		o.Source = speech{{"a", zipOf(t, "v1.0.0", "x")}}
		o.Verify = func(context.Context, cache.Key, *cache.Draft) error { return errors.New("bad luck") }
		o.Settle = func(k cache.Key) { settled = append(settled, k.String()) }
	})
	if _, _, err := get(t, m, zipKey); err == nil {
		t.Error("it is served")
	}
	m.flights.aloft.Wait()
	if len(settled) != 1 || settled[0] != zipKey {
		t.Errorf("settled: %q, want the zip", settled)
	}
}
