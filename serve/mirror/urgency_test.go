package mirror

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// body is a flight whose fill reads pieces of a body, each after its turn.
type body struct {
	pieces int
	pause  time.Duration // before each piece
	took   chan time.Duration
}

// fly begins the flight of a body of name. It ends with ctx, or when the body is whole.
func (b *body) fly(ctx context.Context, f *flights, name string) {
	b.took = make(chan time.Duration, 1)
	id := flightKey{cache.Public, mustKey(name)}
	start := time.Now()
	go f.do(ctx, id, func(ctx context.Context, id flightKey, _ func(landing)) (landing, error) {
		f.mu.Lock()
		fl := f.current[id]
		f.mu.Unlock()
		for range b.pieces {
			time.Sleep(b.pause)
			f.turn(ctx, fl)
		}
		b.took <- time.Since(start)
		return landing{open: func() (*cache.Entry, error) { return nil, nil }}, nil
	})
	synctest.Wait()
}

func mustKey(name string) cache.Key {
	key, err := cache.ParseKey(name)
	if err != nil {
		panic(err)
	}
	return key
}

const (
	aZip = "example.com/a/@v/v1.0.0.zip"
	bZip = "example.com/b/@v/v1.0.0.zip"
)

func TestTurns(t *testing.T) {
	const step = 10 * time.Millisecond
	tests := []struct {
		name   string
		client body          // what a client waits for
		ahead  int           // pieces of the other, which nobody waits for
		joined time.Duration // when a client comes to wait for that too, 0 for never
		want   time.Duration // until it has them all
	}{
		// 100 ms for its own pieces, and no more than the last piece of the client's and standBack.
		{"nobody waits for anything", body{}, 10, 0, 10 * step},
		{"a client's body comes on", body{pieces: 50, pause: step}, 10, 0, 50*step + standBack + 10*step},
		{"it waits for its upstream", body{pieces: 10, pause: time.Second}, 10, 0, 10 * step},
		{"it trickles in for hours", body{pieces: 100_000, pause: step}, 10, 0, standLimit + 11*step},
		{"a client joins", body{pieces: 100, pause: step}, 10, 300 * time.Millisecond, 300*time.Millisecond + 10*step},
		{"a small body of a client", body{pieces: smallReads, pause: step}, 10, 0, 10 * step},
		{"a small body ahead of it", body{pieces: 100, pause: step}, smallReads, 0, smallReads * step},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := new(flights)
				ctx, cancel := context.WithCancel(t.Context())
				test.client.fly(ctx, f, aZip)
				ahead := body{pieces: test.ahead, pause: step}
				time.Sleep(5 * step) // it has begun to flow
				start := time.Now()
				ahead.fly(Background(ctx), f, bZip)
				if test.joined > 0 {
					time.Sleep(test.joined)
					go f.do(ctx, flightKey{cache.Public, mustKey(bZip)}, nil)
				}
				<-ahead.took
				if got := time.Since(start); got > test.want || got < test.want-12*step {
					t.Errorf("the body nobody waits for took %v, want up to %v", got, test.want)
				}
				cancel()
				synctest.Wait()
				time.Sleep(100_000 * step) // for those that sleep yet
			})
		})
	}
}

// TestSmallBodiesTakeNoTurns has go wait for .info files, one after the other, while a
// zip of another command flows.
func TestSmallBodiesTakeNoTurns(t *testing.T) {
	for name, want := range map[string]bool{aZip: true, "example.com/a/@v/v1.0.0.mod": false, "example.com/a/@v/v1.0.0.info": false} {
		if got := takesTurns(mustKey(name)); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestTurnsOfLanes has two attempts of one race stand back at once, for the race detector.
func TestTurnsOfLanes(t *testing.T) {
	f := &flights{moved: time.Now()}
	fl := &flight{urgent: make(chan struct{})}
	done := make(chan struct{})
	for range 2 {
		go func() {
			f.turn(t.Context(), fl)
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}

// TestWhatIsForgoneIsDoneForAClient has a client join a flight that was begun for nobody.
// A reason is given to it as it is; only what was forgone is worth another flight, which
// goes on with the time of the first.
func TestWhatIsForgoneIsDoneForAClient(t *testing.T) {
	refused := errors.New("refused")
	synctest.Test(t, func(t *testing.T) {
		for _, forgone := range []bool{false, true} {
			var f flights
			id := flightKey{cache.Public, mustKey(aZip)}
			fills := 0
			fill := func(ctx context.Context, _ flightKey, _ func(landing)) (landing, error) {
				fills++
				time.Sleep(20 * time.Second)
				if err := upstream.RoomFor(upstream.WithRoom(Background(context.Background()), func(int64) error { return refused }), 1); forgone && upstream.IsBackground(ctx) {
					return landing{}, err
				}
				return landing{}, refused
			}
			go f.do(Background(t.Context()), id, fill)
			time.Sleep(5 * time.Second)
			start := time.Now()
			_, _, err := f.do(t.Context(), id, fill)
			took := time.Since(start)
			want := map[bool]int{false: 1, true: 2}[forgone]
			if !errors.Is(err, refused) || upstream.Forgone(err) || fills != want {
				t.Errorf("forgone %v: %v after %v and %d fills, want %d", forgone, err, took, fills, want)
			}
		}
	})
}
