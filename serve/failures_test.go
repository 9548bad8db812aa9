package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/mirror"
)

func TestFailures(t *testing.T) {
	s, err := New(Options{Capability: "0123456789abcdef0123456789abcdef", Port: 20000,
		Get: func(_ context.Context, key cache.Key) (*mirror.Answer, error) {
			return nil, errors.New("no answer about " + key.String())
		},
		Cause: func(error) string { return "net_dns" }})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path string) {
		r := httptest.NewRequest(http.MethodGet, "/t/0123456789abcdef0123456789abcdef/"+path, nil)
		r.Host = "127.0.0.1:20000"
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
	ask("example.com/m/@v/v1.0.0.zip")
	ask("example.com/m/@v/list")
	ask("example.com/m/@v/v1.0.0.zip")
	ask("-/nothing")
	got := s.Failures()
	if len(got) != 2 || got[0].Key != "example.com/m/@v/list" {
		t.Fatalf("got %+v, want the list and then the zip", got)
	}
	zip := got[1]
	if zip.Module != "example.com/m" || zip.Version != "v1.0.0" || zip.Status != 502 || zip.Cause != "net_dns" || zip.Times != 2 ||
		zip.Text != "no answer about example.com/m/@v/v1.0.0.zip" || zip.At.IsZero() {
		t.Errorf("got %+v", zip)
	}
}

// The guesses of go get -u must not drive out what the user wants to know.
func TestFailuresKeepWhatCounts(t *testing.T) {
	var l failures
	l.add(Failure{Key: "example.com/m/@v/v1.0.0.zip", Status: 404})
	for i := range 3 * failureLimit {
		l.add(Failure{Key: fmt.Sprintf("example.com/m/p%d/@v/list", i), Status: 404})
	}
	if len(l.list) != failureLimit || l.list[0].Key != "example.com/m/@v/v1.0.0.zip" {
		t.Errorf("got %d, the first %s; want %d, the zip first", len(l.list), l.list[0].Key, failureLimit)
	}
	for i := range failureLimit {
		l.add(Failure{Key: fmt.Sprintf("example.com/m/@v/v1.1.%d.mod", i), Status: 502})
	}
	if len(l.list) != failureLimit || l.list[0].Key != "example.com/m/@v/v1.1.0.mod" {
		t.Errorf("got %d, the first %s; want %d, the oldest gone", len(l.list), l.list[0].Key, failureLimit)
	}
}
