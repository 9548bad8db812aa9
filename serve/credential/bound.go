package credential

import (
	"fmt"
	"net/http"
	"strings"
)

// redirectLimit is how many redirects a Bound follows: GitHub needs one for a
// repository that was renamed, and one more where it was renamed twice.
const redirectLimit = 5

// Bound carries a token to one host, over https at port 443, and refuses requests to
// all others before they are sent.
//
// It builds the Authorization header itself, anew for each hop: net/http copies the
// header of a first request to sub-domains of its host, and once copied it back on
// the second hop (CVE-2024-45336). A request must not bring one of its own.
type Bound struct {
	Host   string            // such as "api.github.com"; compared byte by byte
	Secret Secret            // empty: go as a stranger
	Next   http.RoundTripper // nil means http.DefaultTransport
}

// RoundTrip implements [http.RoundTripper].
func (b *Bound) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := b.refuse(req); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	next := b.Next
	if next == nil {
		next = http.DefaultTransport
	}
	own := req.Clone(req.Context())
	for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization", "Referer"} {
		own.Header.Del(name)
	}
	if !b.Secret.Empty() {
		own.Header.Set("Authorization", "Bearer "+b.Secret.Reveal())
	}
	resp, err := next.RoundTrip(own)
	if resp != nil {
		resp.Request = req // the one without the token
	}
	return resp, err
}

// refuse returns why a request is not sent.
func (b *Bound) refuse(req *http.Request) error {
	host := strings.TrimSuffix(req.URL.Host, ":443")
	switch {
	case req.URL.Scheme != "https":
		return fmt.Errorf("send a token to %s: not over https", req.URL.Host)
	case b.Host == "" || host != b.Host || req.Host != "" && strings.TrimSuffix(req.Host, ":443") != b.Host:
		return fmt.Errorf("send a token to %s: it is for %s alone", req.URL.Host, b.Host)
	case req.URL.User != nil:
		return fmt.Errorf("send a token to %s: the URL has a user of its own", req.URL.Host)
	}
	hops := 0
	for earlier := req.Response; earlier != nil; earlier = earlier.Request.Response {
		hops++
	}
	if hops > redirectLimit {
		return fmt.Errorf("send a token to %s: more than %d redirects", req.URL.Host, redirectLimit)
	}
	return nil
}
