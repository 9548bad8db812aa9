package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gomirror/gomirror/cache"
)

// ChainOptions are what a [Chain] is made of.
type ChainOptions struct {
	Entries []Entry                   // required, see [ParseList]
	Default bool                      // the list is the go command's own: "," also passes on 403, 451 and 5xx
	Client  *http.Client              // required if an entry is http or https, see [NewClient]
	Direct  Source                    // what "direct" asks; nil makes it an error
	Known   func(modPath string) bool // is the path known to be a module? nil: none is
	Origin  func(modPath string) bool // has direct delivered a version of it? nil: of none
	HopID   string                    // our id in [HopHeader]

	// StateFile keeps what is learned about the upstreams over a restart; "" keeps nothing.
	StateFile string

	Log *slog.Logger     // nil discards
	Now func() time.Time // nil means time.Now
}

// Chain asks the entries of a GOPROXY list in turn. What may pass an error on to the
// next entry is the user's choice of "," or "|", as in the go command. An answer that
// is wrong in itself (HTML, cut, of another version) always passes. Between "|" the
// user does not mind who answers: those are a [choice].
//
// The go command decides once per query which entry answers, a chain once per path.
// For a query go probes each prefix of an import path, so that most of its requests
// are 404s of paths that are no module; see [Chain.asks] and [Chain.stands] for how a
// chain keeps these from running down the whole list.
type Chain struct {
	groups  []choice
	proxies []*Proxy
	deflt   bool
	known   func(string) bool
	origin  func(string) bool
	log     *slog.Logger
	text    string
	record  record
}

// step is an entry and what it stands for.
type step struct {
	Entry
	index  int // in the list
	name   string
	source Source
	health *health // nil for what is no module proxy
}

// NewChain makes a chain. The caller closes it.
func NewChain(opts ChainOptions) (*Chain, error) {
	c := &Chain{deflt: opts.Default, known: opts.Known, origin: opts.Origin, log: opts.Log}
	if c.known == nil {
		c.known = func(string) bool { return false }
	}
	if c.origin == nil {
		c.origin = func(string) bool { return false }
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if opts.Direct == nil {
		opts.Direct = never{errors.New("direct is not available here")}
	}
	c.record = record{file: opts.StateFile, log: c.log}
	joined := false
	for i, e := range opts.Entries {
		s, err := c.step(i, e, opts)
		if err != nil {
			return nil, err
		}
		if !joined {
			c.groups = append(c.groups, choice{})
		}
		g := &c.groups[len(c.groups)-1]
		g.steps = append(g.steps, s)
		joined = e.FallBackOnError
		c.text += s.name
		if i < len(opts.Entries)-1 {
			c.text += map[bool]string{false: ",", true: "|"}[joined]
		}
	}
	if len(c.groups) == 0 {
		return nil, errors.New("make upstream chain: no entries")
	}
	c.record.load()
	return c, nil
}

// step makes the step of one entry.
func (c *Chain) step(index int, e Entry, opts ChainOptions) (step, error) {
	s := step{Entry: e, index: index, name: e.String()}
	switch e.URL {
	case wordDirect:
		s.source = opts.Direct
		return s, nil
	case wordOff:
		s.source = never{errOff}
		return s, nil
	}
	u, err := parseURL(e.URL)
	if err != nil {
		return s, fmt.Errorf("parse upstream %q: %w", e, err)
	}
	p := NewProxy(u, opts.Client, opts.HopID)
	if opts.Now != nil {
		p.now = opts.Now
	}
	if p.health == nil {
		p.health = new(health)
	}
	p.health.name, p.health.changed = p.Name(), c.record.news
	s.name, s.source, s.health = p.Name(), p, p.health
	c.proxies = append(c.proxies, p)
	c.record.healths = append(c.record.healths, p.health)
	return s, nil
}

// Close keeps what was learned about the upstreams.
func (c *Chain) Close() error { return c.record.close() }

// Proxies returns the module proxies of the chain in order.
func (c *Chain) Proxies() []*Proxy { return c.proxies }

// String returns the list without credentials.
func (c *Chain) String() string { return c.text }

// never is a source that has nothing.
type never struct{ err error }

func (n never) Fetch(context.Context, Request, Sink) error { return n.err }

// offError is what GOPROXY=off says. As in the go command it counts as not found.
type offError struct{}

var errOff = offError{}

func (offError) Error() string        { return "module lookup disabled by GOPROXY=off" }
func (offError) Is(target error) bool { return target == fs.ErrNotExist }

// Fetch implements [Source]. Whom to ask next is the pursuit's to say; who is asked is
// asked here, for the way from a client to an upstream is to stay short.
func (c *Chain) Fetch(ctx context.Context, req Request, sink Sink) error {
	p := newPursuit(ctx, c, req, sink)
	for t := range p.turns(ctx) {
		if len(t.steps) > 1 {
			if over, err := p.race(ctx, t); over {
				return err
			}
			continue
		}
		s := t.steps[0]
		err := p.blocked(ctx, s, t.quick)
		if err == nil {
			err = s.source.Fetch(p.prepare(ctx, s, t.quick), p.request(s), p.watch(ctx, s))
		}
		if p.over(ctx, err) {
			return err
		}
		p.note(ctx, s, err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return p.result(ctx)
}

// passes reports whether the next entry is asked after an error of s.
func (c *Chain) passes(s step, err error) bool { return Passes(s.Entry, c.deflt, err) }

// Passes reports whether the entry behind e in a list is asked after an error of e.
// builtin says that the list is the go command's own.
func Passes(e Entry, builtin bool, err error) bool {
	var invalid *cache.InvalidError
	var contradiction *cache.ContradictionError
	var status *StatusError
	switch {
	case e.FallBackOnError, errors.Is(err, fs.ErrNotExist):
		return true
	case errors.As(err, &invalid), errors.As(err, &contradiction), errors.Is(err, io.ErrUnexpectedEOF),
		errors.As(err, new(*refusedError)): // it redirects to where we do not go
		return true
	case builtin && errors.As(err, &status):
		return status.Code == http.StatusForbidden || status.Code == http.StatusUnavailableForLegalReasons || status.Code >= 500
	}
	return false
}

// asks reports whether direct is asked for key. The go command starts one clone for
// a query that no proxy could answer; we would start one for each path it probes,
// 422 for a go get -u that was measured. So direct behind a proxy answers only what
// is never probed (.mod and .zip), and queries of modules that have come from their
// origin before. Of those that a proxy has, its 404 is the answer: static trees have
// no @latest, which the go command takes from the list then, and a fault of direct
// in its place would fail the command.
func (c *Chain) asks(key cache.Key) bool {
	return len(c.proxies) == 0 || key.Kind() == cache.Mod || key.Kind() == cache.Zip || c.origin(key.Module().Path)
}

// stands reports whether a 404 ends the chain: the path is inside a known module, so
// that this is one of go's probes, and go takes the answer of the proxy that knows
// the module. A path that is known itself is no probe.
func (c *Chain) stands(key cache.Key, err error) bool {
	if key.Kind() == cache.Mod || key.Kind() == cache.Zip || !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	modPath := key.Module().Path
	if c.known(modPath) {
		return false
	}
	for i := strings.LastIndexByte(modPath, '/'); i > 0; i = strings.LastIndexByte(modPath[:i], '/') {
		if c.known(modPath[:i]) {
			return true
		}
	}
	return false
}
