package mirror

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// brook is a source whose bodies stop after size bytes and go on when ctx ends, with
// the error that this is. It takes its time to notice.
type brook struct {
	size int
	came chan struct{} // gets one for each body that has stopped
}

func (b brook) Fetch(ctx context.Context, req upstream.Request, sink upstream.Sink) error {
	rest := readerFunc(func([]byte) (int, error) {
		b.came <- struct{}{}
		<-ctx.Done()
		time.Sleep(50 * time.Millisecond) // what a real connection may take
		return 0, ctx.Err()
	})
	meta := cache.Meta{Upstream: "test", Status: 200, ETag: `"1"`, Fetched: time.Now()}
	return sink(req.Key, meta, io.MultiReader(bytes.NewReader(make([]byte, b.size)), rest))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestCloseKeepsWhatHasCome(t *testing.T) {
	b := brook{size: 300 << 10, came: make(chan struct{}, 8)}
	m := newMirror(t, nil, func(o *Options) { o.Source = b })
	versions := []string{"v1.0.0", "v1.1.0", "v1.2.0"}
	answered := make(chan error, len(versions))
	for _, v := range versions {
		go func() { // ends with Close
			_, err := m.Get(t.Context(), key(t, modPath+"/@v/"+v+".zip"))
			answered <- err
		}()
	}
	for range versions {
		<-b.came
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		p, err := m.opts.Store.Partial(cache.Public, key(t, modPath+"/@v/"+v+".zip"))
		if err != nil {
			t.Errorf("what has come of %s: %v", v, err)
			continue
		}
		if p.Size != int64(b.size) {
			t.Errorf("%d bytes of %s are held, want %d", p.Size, v, b.size)
		}
		p.Close()
	}
	for range versions {
		if err := <-answered; err == nil {
			t.Error("a pull of which half has come was answered")
		}
	}
	if _, err := m.Get(t.Context(), key(t, modPath+"/@v/v1.3.0.zip")); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v, want %v", err, errClosed)
	}
}

func TestCloseWaitsForNoStuckFill(t *testing.T) {
	var f flights
	stuck := make(chan struct{})
	defer close(stuck)
	started := make(chan struct{})
	go func() { // ends with stuck
		_, _, _ = f.do(t.Context(), flightKey{cache.Public, key(t, modPath+"/@v/v1.0.0.zip")}, func(context.Context, flightKey) (landing, error) {
			close(started)
			<-stuck
			return landing{}, errClosed
		})
	}()
	<-started
	if err := f.close(10 * time.Millisecond); err == nil {
		t.Error("a fill that does not end was waited for")
	}
}
