package upstream

import (
	"net/http"
	"testing"
	"time"
)

// TestRetryAfterOfARedirectsTarget is for that host alone.
func TestRetryAfterOfARedirectsTarget(t *testing.T) {
	now := time.Now()
	for url, want := range map[string]bool{
		"https://a.example/proxy/example.com/m/@v/list": true,
		"https://files.example/m.zip":                   false,
	} {
		var r respite
		r.take("https://a.example/proxy", &triedError{&busyError{&StatusError{URL: url, Code: http.StatusTooManyRequests}, 40 * time.Second}, 2}, now)
		if got := r.on(now.Add(39 * time.Second)); got != want || r.on(now.Add(40*time.Second)) {
			t.Errorf("%s: rests %v, want %v", url, got, want)
		}
	}
}
