package upstream

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/gomirror/gomirror/cache"
)

// smallLimit is the largest answer that Get takes. The checksum database's are below
// 10 KiB: a tile is 8 KiB, a lookup a few lines.
const smallLimit = 1 << 20

// Proxy is a [Source] for one module proxy: http, https, or a folder as a file URL.
type Proxy struct {
	name   string // URL without credentials
	base   *url.URL
	auth   string // Authorization header, "" for none
	client *http.Client
	hopID  string
	now    func() time.Time
	health *health
	pulse  pulse
	delay  backoff.ExponentialBackOff // between tries
}

// NewProxy returns the proxy at u. The user and password in u are sent as basic
// authentication and shown nowhere. hopID goes out in [HopHeader].
func NewProxy(u *url.URL, client *http.Client, hopID string) *Proxy {
	base := *u
	base.User, base.Fragment, base.RawFragment = nil, "", ""
	name := strings.TrimSuffix(bareURL(u), "/")
	p := &Proxy{
		name: name, base: &base, client: client, hopID: hopID,
		now: time.Now, health: newHealth(name),
		delay: backoff.ExponentialBackOff{
			InitialInterval: firstBackoff, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: maxBackoff,
		},
	}
	if u.Scheme == "file" {
		p.client = &http.Client{CheckRedirect: checkRedirect, Transport: http.NewFileTransport(http.Dir(folder(u.Path)))}
		p.base = &url.URL{Scheme: "file", Path: "/"}
		return p
	}
	if u.User != nil {
		password, _ := u.User.Password()
		p.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	return p
}

// folder returns the folder that a file URL's path names: /C:/x is C:\x on Windows.
func folder(path string) string {
	if drive := strings.TrimPrefix(path, "/"); filepath.VolumeName(filepath.FromSlash(drive)) != "" {
		path = drive
	}
	return filepath.FromSlash(path)
}

// Name returns the URL of the proxy without credentials.
func (p *Proxy) Name() string { return p.name }

// Fetch implements [Source]. It delivers the one key asked for.
func (p *Proxy) Fetch(ctx context.Context, req Request, sink Sink) error {
	q := p.newPull(ctx, req.Key.String())
	q.partial, q.held = req.Partial, req.Meta.Upstream != ""
	own := req.Meta.Upstream == p.name // another's validators mean nothing here
	if own && req.Meta.ETag != "" {
		q.ifNew.Set("If-None-Match", req.Meta.ETag)
	}
	if own && req.Meta.LastModified != "" {
		q.ifNew.Set("If-Modified-Since", req.Meta.LastModified)
	}
	if req.Key.Kind() == cache.Zip {
		// It is packed already, and a range of it must count the bytes of the file.
		q.header.Set("Accept-Encoding", "identity")
	}
	from, err := q.next(ctx, restOf(req.Partial, p.name))
	for from != nil {
		body := newBody(ctx, q, from)
		from, err = q.after(ctx, body, p.deliver(req.Key, from.resp, body, sink))
	}
	var redirect *redirectError
	if errors.As(err, &redirect) {
		err = &cache.InvalidError{Key: req.Key, Reason: redirect.reason}
	}
	return p.explain(ctx, req.Key.String(), err)
}

// deliver hands an answer to sink.
func (p *Proxy) deliver(key cache.Key, resp *http.Response, body *body, sink Sink) error {
	if page := webPage(resp); page != "" {
		return &cache.InvalidError{Key: key, Reason: page}
	}
	meta := cache.Meta{
		Upstream: p.name, Fetched: p.now(), Status: http.StatusOK,
		ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified"),
	}
	return sink.own()(key, meta, body)
}

// Get returns a small file of the proxy, such as "sumdb/sum.example.com/supported".
func (p *Proxy) Get(ctx context.Context, path string) ([]byte, error) {
	path = strings.TrimPrefix(path, "/")
	// Who asks for a small file has others to ask, and asks on by itself.
	q := p.newPull(withQuick(ctx), path)
	var small []byte
	from, err := q.next(ctx, nil)
	for from != nil {
		body := newBody(ctx, q, from)
		small, err = readSmall(from.resp, body)
		from, err = q.after(ctx, body, err)
	}
	if err != nil {
		return nil, p.explain(ctx, path, err)
	}
	return small, nil
}

func readSmall(resp *http.Response, body *body) ([]byte, error) {
	if page := webPage(resp); page != "" {
		return nil, errors.New(page)
	}
	small, err := io.ReadAll(io.LimitReader(body, smallLimit+1))
	if err == nil && len(small) > smallLimit {
		err = fmt.Errorf("answer larger than %d bytes", smallLimit)
	}
	return small, err
}

// explain makes the error name the upstream and what was asked for.
func (p *Proxy) explain(ctx context.Context, path string, err error) error {
	var status *StatusError
	var full *cache.FullError
	switch {
	case err == nil, err == ErrNotModified, errors.As(err, &status), errors.As(err, &full):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("fetch %s from %s: %w", path, p.name, context.Cause(ctx))
	}
	return &fetchError{p.name, path, err}
}

// webPage returns a sentence if an answer is a page for people, as the sign-in page
// of a network is, and "" if not. No proxy sends one for a module file.
func webPage(resp *http.Response) string {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if mediaType != "text/html" {
		return ""
	}
	return bareURL(resp.Request.URL) + " is a web page, not a module file; does this network want a sign-in?"
}

// ownError is a fault of our own that would look like a "not found" of the upstream: a
// lost cache folder is no 404, nor is a go command that is not there. It hides what err
// Is, not what it is.
type ownError struct{ err error }

func own(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &ownError{err}
	}
	return err
}

func (e *ownError) Error() string      { return e.err.Error() }
func (e *ownError) As(target any) bool { return errors.As(e.err, target) }
