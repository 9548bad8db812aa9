package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// answer is one request and what came of it: an answer with a body that is the whole
// file or, if total is set, the rest of it.
type answer struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  *connWatch
	resp   *http.Response
	total  int64 // of the whole file, if this is the rest
	err    error
}

// newAnswer prepares a request that finds a connection before until.
func newAnswer(ctx context.Context, p *Proxy, until time.Time) *answer {
	a := new(answer)
	ctx, a.cancel = context.WithCancelCause(ctx)
	a.ctx, a.watch = watchConn(ctx, a.cancel, &p.pulse, until)
	return a
}

// close ends the request. It may be called twice.
func (a *answer) close() {
	if a.resp != nil {
		a.resp.Body.Close()
	}
	a.cancel(nil)
	a.watch.stop()
}

// request makes a request for what is missing.
func (q *pull) request(ctx context.Context, missing *rest) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.proxy.urlOf(q.path), nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header = q.proxy.headerFor(ctx, q.header)
	if missing != nil {
		missing.ask(req.Header)
		return req, nil
	}
	for name, values := range q.ifNew {
		req.Header[name] = values
	}
	return req, nil
}

// judge returns nil for an answer whose body is what was missing, or the whole; all
// else is an error, and closed.
func (q *pull) judge(a *answer, missing *rest, err error) error {
	if err == nil {
		err = q.verdict(a, missing)
	} else {
		err = q.proxy.noAnswer(a, err)
	}
	if err != nil {
		a.close()
	}
	return err
}

// verdict goes by the status of an answer.
func (q *pull) verdict(a *answer, missing *rest) error {
	if took, ok := a.watch.took(); ok {
		q.proxy.health.firstByte(took)
	}
	switch code := a.resp.StatusCode; {
	case code == http.StatusOK:
		return nil
	case code == http.StatusNotModified && missing == nil && len(q.ifNew) > 0:
		return ErrNotModified
	case code == http.StatusPartialContent && missing != nil:
		total, ok := missing.fits(a.resp.Header)
		if !ok {
			return errNoRest
		}
		a.total = total
		return nil
	case code == http.StatusRequestedRangeNotSatisfiable && missing != nil:
		return errNoRest
	}
	defer time.AfterFunc(errorBodyTime, func() { a.cancel(nil) }).Stop()
	return q.proxy.status(q.path, a.resp)
}

// urlOf returns the URL of a path below the proxy.
func (p *Proxy) urlOf(path string) string {
	u := *p.base
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + path
	if u.RawPath != "" {
		u.RawPath = strings.TrimSuffix(u.RawPath, "/") + "/" + path
	}
	return u.String()
}

// headerFor adds to header what every request has.
func (p *Proxy) headerFor(ctx context.Context, header http.Header) http.Header {
	header = header.Clone()
	header.Set("User-Agent", "gomirror")
	if p.auth != "" {
		header.Set("Authorization", p.auth)
	}
	if p.hopID != "" {
		header.Set(HopHeader, hops(ctx, p.hopID))
	}
	return header
}

// noAnswer sorts the error of a request that brought no answer.
func (p *Proxy) noAnswer(a *answer, err error) error {
	host := p.base.Host
	// What url.Error adds, the method and a URL, is said better by those who wrap this.
	var ue *url.Error
	if errors.As(err, &ue) {
		if u, parseErr := url.Parse(ue.URL); parseErr == nil {
			host = u.Host
		}
		err = ue.Err
	}
	if cause := context.Cause(a.ctx); cause != nil {
		err = cause // instead of "context canceled"
	} else if a.watch.waiting.Load() && timedOut(err) {
		err = &StallError{Upstream: p.name, Limit: firstByteLimit, Got: -1}
	}
	if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) && unknown.Cert != nil {
		err = &caError{fmt.Errorf("%w (its issuer is %s)", err, unknown.Cert.Issuer)}
	}
	if host != p.base.Host {
		err = fmt.Errorf("after a redirect to %s: %w", host, err)
	}
	if !a.watch.accepted.Load() {
		return &noConnection{err}
	}
	return err
}

// status makes the error of an answer other than 200.
func (p *Proxy) status(path string, resp *http.Response) error {
	e := &StatusError{Upstream: p.name, URL: bareURL(resp.Request.URL), Code: resp.StatusCode, Text: errorText(resp)}
	if p.base.Scheme == "file" {
		e.URL = p.name + "/" + path
	}
	switch e.Code {
	case http.StatusLoopDetected:
		return &loopError{e}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if after := retryAfter(resp.Header); after > 0 {
			return &busyError{e, after}
		}
	}
	return e
}
