// Package github asks GitHub the few questions that tell a user why a token works or
// does not: whose it is, what it may see, and why one repository can't be read.
//
// It fetches no module: git does that. Every answer that is no plain yes becomes an
// [AccessError], whose text is one sentence and whose hint is one command.
//
// API: https://docs.github.com/rest. Enterprise servers answer the same under a path
// of their own, see [API].
package github

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/gomirror/gomirror/serve/credential"
)

const (
	// requestLimit is for one request with its redirects. GitHub itself gives up on a
	// request after 10 s; the rest is for a slow link.
	requestLimit = 20 * time.Second

	// bodyLimit is for a page of 100 repositories, each of 5 to 8 kB.
	bodyLimit = 4 << 20

	// apiVersion is what the answers are read by (docs.github.com/rest, "API Versions").
	apiVersion = "2022-11-28"
)

// Options are what a Client needs.
type Options struct {
	HTTP *http.Client     // its Transport alone is used; nil means http.DefaultClient
	Now  func() time.Time // nil means time.Now
}

// Client asks any GitHub. It keeps no token: each call is given one.
type Client struct {
	http *http.Client
	now  func() time.Time
}

// New returns a Client.
func New(opts Options) *Client {
	c := &Client{http: opts.HTTP, now: opts.Now}
	if c.http == nil {
		c.http = http.DefaultClient
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c
}

// API returns the address of a host's REST API.
func API(host string) string {
	switch {
	case host == "github.com", strings.HasSuffix(host, ".ghe.com"): // Enterprise Cloud with data residency
		return "https://api." + host
	}
	return "https://" + host + "/api/v3"
}

// response is an answer with status 2xx.
type response struct {
	header http.Header
	body   []byte
}

// refusal is any other answer.
type refusal struct {
	status  int
	header  http.Header
	message string // GitHub's own sentence, "" if it sent none
}

func (r *refusal) Error() string {
	if r.message == "" {
		return fmt.Sprintf("it answers %d %s", r.status, http.StatusText(r.status))
	}
	return r.message
}

// get asks the API of host for path.
func (c *Client) get(ctx context.Context, host string, s credential.Secret, path string) (*response, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, API(host)+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", host, err)
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", apiVersion)
	req.Header.Set("User-Agent", "gomirror")
	resp, err := c.bound(req.URL.Host, s).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyLimit+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > bodyLimit:
		return nil, fmt.Errorf("its answer has more than %d bytes", bodyLimit)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return nil, &refusal{resp.StatusCode, resp.Header, message(body)}
	}
	return &response{resp.Header, body}, nil
}

// bound sends s, which may be empty, to host over https and nowhere else, redirects
// included.
func (c *Client) bound(host string, s credential.Secret) *http.Client {
	return &http.Client{Transport: &credential.Bound{Host: host, Secret: s, Next: c.http.Transport}}
}

// decode reads what a response holds.
func (r *response) decode(v any) error {
	if err := json.NewDecoder(bytes.NewReader(r.body)).Decode(v); err != nil {
		return fmt.Errorf("its answer is not of GitHub's form: %w", err)
	}
	return nil
}

// message is what GitHub says about an error. A login page of something in between
// says nothing.
func message(body []byte) string {
	var doc struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &doc) != nil {
		return ""
	}
	return oneLine(doc.Message)
}

// messageLimit is above GitHub's longest sentences, which have some 250 letters, and
// half of what the go command prints of an error.
const messageLimit = 300

// oneLine makes a text of a server one that a terminal may show: no control
// characters, no line breaks, no end.
func oneLine(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) })
	text = strings.Join(words, " ")
	if cut := []rune(text); len(cut) > messageLimit {
		text = string(cut[:messageLimit]) + "…"
	}
	return strings.TrimSuffix(text, ".")
}

// isRefused reports whether err is an answer of that status.
func isRefused(err error, status int) bool {
	var r *refusal
	return errors.As(err, &r) && r.status == status
}
