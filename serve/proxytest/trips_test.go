package proxytest

import (
	"sync"
	"testing"
	"time"
)

func TestCounts(t *testing.T) {
	const mod = "/example.com/quote/@v/v1.5.2.mod"
	u := New(t, Options{TLS: true, Fixtures: true, Link: Link{RTT: 100 * time.Millisecond}})
	client := clientOf(t, u)
	_, text, err := get(client, u.URL+mod)
	if err != nil {
		t.Fatal(err)
	}
	u.Forget()
	for range 2 {
		get(client, u.URL+mod)
	}
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() { get(client, u.URL+mod) })
	}
	all.Wait()
	get(client, u.URL+"/sumdb/"+DatabaseName+"/lookup/example.com/quote@v1.5.2")
	got := u.Counts()
	if got.Requests != 8 || got.RoundTrips != 4 || got.Ranges != 0 || got.Bytes["mod"] != int64(7*len(text)) || got.Bytes["sumdb"] == 0 {
		t.Errorf("got %+v, want 8 requests, 4 round trips and 7 times %d bytes", got, len(text))
	}
	if got.InFlight != 5 {
		t.Errorf("%d in flight, want 5", got.InFlight)
	}
}

func TestLongestChain(t *testing.T) {
	now := time.Now()
	at := func(from, to int) *trip {
		tr := &trip{start: now.Add(time.Duration(from) * time.Second)}
		if to != 0 {
			tr.end = now.Add(time.Duration(to) * time.Second)
		}
		return tr
	}
	tests := map[string]struct {
		all  []*trip
		want int
	}{
		"none":              {nil, 0},
		"one":               {[]*trip{at(0, 1)}, 1},
		"after one another": {[]*trip{at(4, 5), at(0, 1), at(2, 3)}, 3},
		"side by side":      {[]*trip{at(0, 2), at(1, 3), at(1, 4)}, 1},
		"one over all":      {[]*trip{at(0, 9), at(1, 2), at(3, 4)}, 2},
		"still waiting":     {[]*trip{at(-3, 0), at(-9, -4)}, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := longestChain(test.all, now.Add(time.Minute)); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}
