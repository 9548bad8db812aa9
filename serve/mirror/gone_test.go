package mirror

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// eraser is an upstream during whose answers the cache is removed.
type eraser struct {
	*origin
	dir string // "" removes nothing
}

func (e *eraser) Fetch(ctx context.Context, req upstream.Request, sink upstream.Sink) error {
	if err := os.RemoveAll(e.dir); err != nil {
		return err
	}
	return e.origin.Fetch(ctx, req, sink)
}

// What an upstream says still stands is there for who has asked, also once it is gone from
// the disk.
func TestRevalidatedWithoutItsFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("what is open can't be removed")
	}
	now := time.Now()
	e := &eraser{origin: &origin{answers: map[string][]byte{listKey: []byte("v1.0.0\n")}, etag: `"1"`}}
	m := newMirror(t, nil, func(o *Options) { o.Source, o.Now = e, func() time.Time { return now } })
	if _, _, err := get(t, m, listKey); err != nil {
		t.Fatal(err)
	}
	now, e.dir = now.Add(time.Hour), m.opts.Store.Dir()
	a, err := m.Get(t.Context(), key(t, listKey))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if a.State != Revalidated || a.Age != 0 || a.Size != int64(len("v1.0.0\n")) {
		t.Errorf("got %d bytes, %s, of %v ago; want the list, revalidated now", a.Size, a.State, a.Age)
	}
	if text, state, err := get(t, m, listKey); text != "v1.0.0\n" || state != Miss || err != nil {
		t.Errorf("later: %q, %q, %v; want it fetched again", text, state, err)
	}
}

// What was fetched and is gone before it could be opened is not "not found".
func TestGoneBeforeItIsOpened(t *testing.T) {
	var f flights
	fill := func(context.Context, flightKey, func(landing)) (landing, error) {
		return landing{state: Miss, open: func() (*cache.Entry, error) { return nil, fs.ErrNotExist }}, nil
	}
	if _, _, err := f.do(t.Context(), flightKey{cache.Public, key(t, infoKey)}, fill); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want a fault of our own", err)
	}
}
