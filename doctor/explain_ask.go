package doctor

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gomirror/gomirror/serve/upstream"
)

const (
	// askLimit is for one question, redirects included: who asks why waits for it.
	askLimit = 5 * time.Second

	// replyLimit is above the refs of the largest repositories.
	replyLimit = 32 << 20
)

// reply is what came of a question.
type reply struct {
	status int
	body   []byte
	size   int64    // of what was asked for; -1 if that is not told
	hops   []string // hosts that it was redirected to
	text   string   // the first line of an error, if it was sent for people
	fault  *fault   // of the link, or an answer without sense
}

// verdict sorts it.
func (r reply) verdict() Verdict {
	if r.fault != nil {
		return r.fault.verdict()
	}
	return verdictOfStatus(r.status)
}

// String says it in a few words.
func (r reply) String() string {
	if r.fault != nil {
		return r.fault.text
	}
	said := strings.TrimSpace(fmt.Sprintf("%d %s", r.status, http.StatusText(r.status)))
	if len(r.hops) > 0 {
		said += " by way of " + strings.Join(r.hops, ", ")
	}
	if r.text != "" {
		said += ": " + strings.TrimRight(r.text, ".")
	}
	return said
}

// ask puts one question by the way of a pull. Where that fails it tries the way of this
// shell, if that is another.
func (x *explainer) ask(ctx context.Context, t target, method string, prepare func(*http.Request)) reply {
	if t.url.Scheme == "file" {
		return askFile(t.url)
	}
	r := x.askBy(ctx, x.n, t, method, prepare)
	if r.fault == nil || r.fault.layer == "http" {
		return r
	}
	if shell := x.n.shell(); shell != nil && x.askBy(ctx, shell, t, method, prepare).fault == nil {
		r.fault.text, r.fault.fix = r.fault.text+thisShell, x.o.restart()
	}
	return r
}

// askBy puts one question by the way of n. prepare changes the request to the first
// host, and to no other.
func (x *explainer) askBy(ctx context.Context, n *network, t target, method string, prepare func(*http.Request)) (r reply) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	next := t.url
	for range hopLimit + 1 {
		v := newVisit(t)
		v.url = next
		location := askOnce(ctx, n, v, method, prepare, &r)
		if location == nil {
			return r
		}
		if location.Host != next.Host {
			if r.fault = n.redirectFault(v, location); r.fault != nil {
				return r
			}
			r.hops, prepare = append(r.hops, location.Host), nil
			t = target{role: asTarget, url: location, from: t.name()}
		}
		next = location
	}
	r.fault = &fault{layer: "http", kind: "loop", text: t.name() + " redirects without end"}
	return r
}

// askOnce follows no redirect: it returns where to.
func askOnce(ctx context.Context, n *network, v *visit, method string, prepare func(*http.Request), r *reply) *url.URL {
	client := n.client(v)
	defer client.CloseIdleConnections()
	bare := *v.url
	bare.User, bare.Fragment = nil, ""
	req, err := http.NewRequestWithContext(v.traced(ctx), method, bare.String(), nil)
	if err != nil {
		r.fault = &fault{layer: "http", kind: "url", text: v.name() + " can't be asked: its address is none"}
		return nil
	}
	req.Header.Set("User-Agent", "gomirror")
	if v.url.User != nil && v.url.Scheme == "https" {
		password, _ := v.url.User.Password()
		req.SetBasicAuth(v.url.User.Username(), password)
	}
	if prepare != nil {
		prepare(req)
	}
	resp, err := client.Do(req)
	if err != nil {
		r.fault = n.requestFault(ctx, v, err)
		return nil
	}
	defer resp.Body.Close()
	if location, err := resp.Location(); err == nil && resp.StatusCode/100 == 3 {
		return location
	}
	r.status, r.size = resp.StatusCode, resp.ContentLength
	if r.body, err = io.ReadAll(io.LimitReader(resp.Body, replyLimit)); err != nil {
		r.fault = n.requestFault(ctx, v, err)
	} else if r.status >= 400 && isPlain(resp) {
		line, _, _ := strings.Cut(strings.TrimSpace(string(r.body)), "\n")
		r.text = oneLine(line)
	} else if v.role != asGit && isPage(resp) && resp.StatusCode == http.StatusOK {
		r.fault = &fault{layer: "http", kind: "page", text: v.name() + " answers with a web page; does this network want a sign-in?"}
	}
	return nil
}

// askFile is for an upstream that is a folder.
func askFile(u *url.URL) reply {
	name := u.Path
	if drive := strings.TrimPrefix(name, "/"); filepath.VolumeName(filepath.FromSlash(drive)) != "" {
		name = drive
	}
	body, err := os.ReadFile(filepath.FromSlash(name))
	switch {
	case os.IsNotExist(err):
		return reply{status: http.StatusNotFound}
	case err != nil:
		return reply{fault: &fault{layer: "http", kind: "file", text: err.Error()}}
	}
	return reply{status: http.StatusOK, body: body, size: int64(len(body))}
}

// askMirror asks an upstream for one of its files.
func (x *explainer) askMirror(ctx context.Context, e upstream.Entry, file, method string) reply {
	u, err := url.Parse(e.URL)
	if err != nil {
		return reply{fault: &fault{layer: "http", kind: "url", text: e.String() + " is no address"}}
	}
	return x.ask(ctx, target{role: asMirror, url: u.JoinPath(file), entry: e, needed: true}, method, nil)
}
