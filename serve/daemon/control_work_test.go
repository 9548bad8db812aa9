package daemon

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// workingControl serves opts until the test ends, or until stop.
func workingControl(t *testing.T, opts ControlOptions) (client *Client, stop func() error) {
	t.Helper()
	dir := stateDir(t)
	lock := acquire(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	opts.StateDir, opts.Stop, opts.Status = dir, cancel, func() any { return nil }
	control, err := NewControl(opts)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- control.Run(ctx); lock.Release() }() // ends with ctx
	t.Cleanup(cancel)
	client, err = Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	return client, func() error { cancel(); return <-ended }
}

// stranger is what an origin says who wants to know who asks.
type stranger struct{}

func (stranger) Error() string   { return "who are you?" }
func (stranger) NeedsAuth() bool { return true }

func TestWork(t *testing.T) {
	forgotten := 0
	var unread error
	client, _ := workingControl(t, ControlOptions{
		Refresh: func(_ context.Context, r Refresh) (any, error) {
			if r.Module == "example.com/bad" {
				return nil, &hinted{errors.New("the tag has moved"), "gomirror refresh M --accept-moved"}
			}
			return r, nil
		},
		Resolve: func(_ context.Context, r Resolve) (any, error) {
			switch r.Ref {
			case "gone":
				return nil, errors.New("no such branch")
			case "hidden":
				return nil, stranger{}
			}
			return map[string]string{"version": "of " + r.Module + "@" + r.Ref}, nil
		},
		ForgetTokens: func() error { forgotten++; return unread },
	})
	want := Refresh{Module: "example.com/m", Version: "v1.0.0", AcceptMoved: true}
	var got Refresh
	if err := client.Refresh(t.Context(), want, &got); err != nil || got != want {
		t.Errorf("Refresh: got %+v, %v; want %+v", got, err, want)
	}
	err := client.Refresh(t.Context(), Refresh{Module: "example.com/bad"}, nil)
	wantHint(t, err, "the tag has moved", "--accept-moved")
	var doc struct{ Version string }
	if err := client.Resolve(t.Context(), Resolve{"example.com/m", "feature/x"}, &doc); err != nil || doc.Version != "of example.com/m@feature/x" {
		t.Errorf("Resolve: got %+v, %v", doc, err)
	}
	if err := client.Resolve(t.Context(), Resolve{"example.com/m", "gone"}, nil); err == nil || err.Error() != "no such branch" {
		t.Errorf("Resolve of what is gone: got %v", err)
	}
	var origin interface{ NeedsAuth() bool }
	if err := client.Resolve(t.Context(), Resolve{"example.com/m", "hidden"}, nil); !errors.As(err, &origin) || !origin.NeedsAuth() {
		t.Errorf("Resolve as a stranger: got %v, want it to need a token", err)
	}
	if err := client.ForgetTokens(t.Context()); err != nil || forgotten != 1 {
		t.Errorf("ForgetTokens: %v, called %d times; want 1", err, forgotten)
	}
	unread = &hinted{errors.New("config.toml is not readable"), "edit config.toml"}
	wantHint(t, client.ForgetTokens(t.Context()), "config.toml is not readable", "edit config.toml")
	long := Resolve{"example.com/m", strings.Repeat("x", 2*requestLimit)}
	if err := client.Resolve(t.Context(), long, nil); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("a request of %d bytes: got %v, want 400", 2*requestLimit, err)
	}
}

func TestUnknownWork(t *testing.T) {
	client, _ := workingControl(t, ControlOptions{})
	if err := client.Refresh(t.Context(), Refresh{Module: "example.com/m"}, nil); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("Refresh: got %v, want 404", err)
	}
	if err := client.ForgetTokens(t.Context()); err != nil {
		t.Errorf("ForgetTokens without tokens: %v", err)
	}
}

// A clone takes longer than other answers may; and nobody waits for one in vain.
func TestLongWork(t *testing.T) {
	started, ended := make(chan bool, 2), make(chan error, 2)
	client, stop := workingControl(t, ControlOptions{
		Resolve: func(ctx context.Context, r Resolve) (any, error) {
			started <- true
			if r.Ref == "slow" {
				select {
				case <-time.After(controlTime + time.Second):
					return "done", nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		},
	})
	t.Run("longer than other answers", func(t *testing.T) {
		var got string
		if err := client.Resolve(t.Context(), Resolve{"example.com/m", "slow"}, &got); err != nil || got != "done" {
			t.Errorf("got %q, %v", got, err)
		}
		<-started
	})
	t.Run("ends when the asker leaves", func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		go func() { <-started; leave() }() // ends once the request has come
		if err := client.Resolve(ctx, Resolve{"example.com/m", "endless"}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want it cancelled", err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the sidecar's side: %v", err)
		}
	})
	t.Run("ends when the sidecar stops", func(t *testing.T) {
		asked := make(chan error, 1)
		go func() { asked <- client.Resolve(t.Context(), Resolve{"example.com/m", "endless"}, nil) }() // ends with stop
		<-started
		before := time.Now()
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(before); took > controlTime/2 {
			t.Errorf("the end took %v", took)
		}
		if err := <-asked; err == nil {
			t.Error("the asker got an answer")
		}
	})
}
