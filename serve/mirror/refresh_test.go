package mirror

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gomirror/gomirror/cache"
)

const (
	latestKey = "example.com/m/@latest"
	branchKey = "example.com/m/@v/main.info"
	shortKey  = "example.com/m/@v/work.info"
)

func TestRefresh(t *testing.T) {
	for _, tree := range []cache.Tree{cache.Public, cache.Private} {
		t.Run(string(tree), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { refreshModule(t, tree == cache.Private) })
		})
	}
}

func refreshModule(t *testing.T, private bool) {
	o := &origin{etag: `"1"`, answers: map[string][]byte{
		listKey: []byte("v1.0.0\nv1.1.0\n"), latestKey: info("v1.1.0"), branchKey: info("v1.0.0"), shortKey: info("v1.0.0")}}
	m := newMirror(t, o, func(o *Options) { o.Private = func(string) bool { return private } })
	for _, name := range []string{listKey, latestKey, branchKey, shortKey} {
		if _, _, err := get(t, m, name); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := get(t, m, infoKey); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	// Nothing is due yet, and the validator would say that all still stands.
	o.set(func(o *origin) {
		o.answers[listKey], o.answers[latestKey] = []byte("v1.0.0\nv1.2.0\n"), info("v1.2.0")
		o.answers[branchKey] = info("v1.2.0")
		o.answers[infoKey] = info("v1.0.0")
		delete(o.answers, shortKey)
	})
	doc, err := m.Refresh(t.Context(), modPath)
	if err != nil {
		t.Fatal(err)
	}
	want := &Refreshed{Module: modPath, Private: private, Versions: 2, New: []string{"v1.2.0"}, Gone: []string{"v1.1.0"}, Latest: "v1.2.0",
		Branches: []Branch{{"main", "v1.0.0", "v1.2.0"}, {"work", "v1.0.0", ""}}}
	if diff := cmp.Diff(doc, want); diff != "" {
		t.Errorf("got, want:\n%s", diff)
	}
	if text, state, err := get(t, m, listKey); text != "v1.0.0\nv1.2.0\n" || state != Hit {
		t.Errorf("list: %q, %s, %v", text, state, err)
	}
	if text, state, err := get(t, m, branchKey); text != string(info("v1.2.0")) || state != Hit {
		t.Errorf("branch: %q, %s, %v", text, state, err)
	}
	if _, _, err := get(t, m, shortKey); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a branch that is gone: %v", err)
	}
	if _, _, err := get(t, m, infoKey); err != nil {
		t.Errorf("a version that was not found before: %v", err)
	}
	refreshWithout(t, m, o)
}

// refreshWithout refreshes what can't be asked for: that stays as it was.
func refreshWithout(t *testing.T, m *Mirror, o *origin) {
	t.Helper()
	o.set(func(o *origin) { o.fault = refused })
	if doc, err := m.Refresh(t.Context(), modPath); err == nil || doc != nil {
		t.Errorf("with the upstream out of reach: %+v, %v", doc, err)
	}
	time.Sleep(time.Hour)
	if text, state, err := get(t, m, listKey); text != "v1.0.0\nv1.2.0\n" || state != Stale {
		t.Errorf("list after that: %q, %s, %v", text, state, err)
	}
	o.set(func(o *origin) { o.fault, o.answers[listKey] = nil, nil; delete(o.answers, listKey) })
	if _, err := m.Refresh(t.Context(), modPath); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a module that is gone: %v", err)
	}
}

func TestRefreshOfNothing(t *testing.T) {
	m := newMirror(t, &origin{}, func(o *Options) { o.Offline = true })
	if _, err := m.Refresh(t.Context(), modPath); !errors.As(err, new(*OfflineError)) {
		t.Errorf("offline: %v", err)
	}
	if _, err := m.Refresh(t.Context(), "not a path"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no path: %v", err)
	}
}

// Who asks after a login is not told what another token was told.
func TestRelogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		o := &origin{answers: map[string][]byte{}, gate: gate}
		m := newMirror(t, o, func(o *Options) { o.Private = func(string) bool { return true } })
		ask := func() chan error {
			asked := make(chan error, 1)
			go func() { _, _, err := get(t, m, infoKey); asked <- err }() // ends once the gate opens
			synctest.Wait()
			return asked
		}
		stranger := ask()
		m.Relogin()
		o.set(func(o *origin) { o.answers[infoKey], o.gate = info("v1.0.0"), nil })
		if err := <-ask(); err != nil {
			t.Errorf("after the login: %v", err)
		}
		if n := o.count(infoKey); n != 2 {
			t.Errorf("the origin was asked %d times, want 2", n)
		}
		close(gate)
		if err := <-stranger; !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("who asked before: %v, want the answer of before", err)
		}
	})
}

// Nothing private is remembered as missing, also not for the moment of a burst.
func TestNoPrivateNegatives(t *testing.T) {
	for _, name := range []string{listKey, latestKey, branchKey, infoKey, modKey, zipKey} {
		o := &origin{answers: map[string][]byte{}}
		m := newMirror(t, o, func(o *Options) { o.Private = func(string) bool { return true } })
		for range 3 {
			if _, _, err := get(t, m, name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := o.count(name); n != 3 {
			t.Errorf("%s: asked %d times of 3", name, n)
		}
		if keys, err := m.opts.Store.Answers(cache.Private, modPath); err != nil || len(keys) != 0 {
			t.Errorf("%s: stored %v, %v", name, keys, err)
		}
	}
}

func TestTake(t *testing.T) {
	public, elsewhere := &origin{}, &origin{answers: map[string][]byte{infoKey: info("v1.0.0")}}
	m := newMirror(t, public)
	if err := m.Take(t.Context(), key(t, infoKey), elsewhere); err != nil {
		t.Fatal(err)
	}
	if text, state, err := get(t, m, infoKey); text != string(info("v1.0.0")) || state != Hit || len(public.asked) != 0 {
		t.Errorf("got %q, %s, %v; the chain was asked for %q", text, state, err, public.asked)
	}
	if err := m.Take(t.Context(), key(t, modKey), elsewhere); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what it does not have: %v", err)
	}
}

func TestMinus(t *testing.T) {
	a := []string{"v1", "v2", "v3"}
	if got := minus(a, []string{"v2"}); !slices.Equal(got, []string{"v1", "v3"}) || !slices.Equal(a, []string{"v1", "v2", "v3"}) {
		t.Errorf("got %q, and %q is left", got, a)
	}
	if got := minus(a, a); len(got) != 0 {
		t.Errorf("got %q, want nothing", got)
	}
}
