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
		_, _, _ = f.do(t.Context(), flightKey{cache.Public, key(t, modPath+"/@v/v1.0.0.zip")}, func(context.Context, flightKey, func(landing)) (landing, error) {
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

// A fill answers before it has put away what it brought: who asks, then or later, does not
// wait for the disk and asks no upstream again; Close does wait.
func TestAnswerBeforeDisk(t *testing.T) {
	var f flights
	id := flightKey{cache.Public, key(t, infoKey)}
	disk := make(chan struct{})
	fills := 0
	fill := func(ctx context.Context, _ flightKey, answer func(landing)) (landing, error) {
		fills++
		answer(landing{state: Miss, open: func() (*cache.Entry, error) { return new(cache.Entry), nil }})
		<-disk
		return landing{}, ctx.Err() // what nobody waits for is not cancelled now
	}
	for _, want := range []string{Miss, Hit, Hit} {
		entry, state, err := f.do(t.Context(), id, fill)
		if entry == nil || state != want || err != nil {
			t.Errorf("got %v %q, %v; want an entry, %q", entry, state, err, want)
		}
	}
	if err := f.close(10 * time.Millisecond); err == nil {
		t.Error("close did not wait for the disk")
	}
	close(disk)
	if err := f.close(time.Minute); err != nil {
		t.Error(err)
	}
	if fills != 1 || len(f.current) > 0 {
		t.Errorf("%d fills, and %d still run; want 1 and none", fills, len(f.current))
	}
}

// What ends in an error is joined by nobody, even while it ends.
func TestNobodyJoinsAnError(t *testing.T) {
	var f flights
	id := flightKey{cache.Public, key(t, infoKey)}
	for range 1000 {
		fills := 0
		fill := func(context.Context, flightKey, func(landing)) (landing, error) {
			fills++
			return landing{}, io.ErrUnexpectedEOF
		}
		for range 2 {
			if _, _, err := f.do(t.Context(), id, fill); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatal(err)
			}
		}
		if fills != 2 {
			t.Fatalf("%d fills, want 2", fills)
		}
	}
}
