package upstream

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	// refusedFor is how long a credential that a host has refused is not shown to it
	// again: a build asks for dozens of modules, and hosts lock accounts out.
	refusedFor = 30 * time.Second

	// whyFor lets the requests of one go command share a host's account of a refusal.
	whyFor = 5 * time.Second

	// whyLimit is how long the account may take. git's own words do without.
	whyLimit = 15 * time.Second
)

// refusals remembers errors for a while. The zero value is ready.
type refusals struct {
	mu   sync.Mutex
	errs map[string]refused
}

type refused struct {
	err   error
	until time.Time
}

// of returns the error that still stands for key, or nil. What is past its time goes.
func (r *refusals) of(key string, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, old := range r.errs {
		if !now.Before(old.until) {
			delete(r.errs, k)
		}
	}
	return r.errs[key].err
}

func (r *refusals) add(key string, err error, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.errs == nil {
		r.errs = make(map[string]refused)
	}
	r.errs[key] = refused{err, until}
}

var (
	// rejected is what git says of a credential that it has shown.
	rejected = regexp.MustCompile(`(?i)authentication failed for '`)

	// refusing are the words that a host may have more to say about.
	refusing = regexp.MustCompile(`(?i)authentication failed|could not read (username|password)|terminal prompts disabled|` +
		`repository '[^']*' not found|repository not found|returned error: 4(0[134]|29)\b|too many requests|` +
		`no secure protocol found for repository`) // go's only word when it looks a HOST/PATH.git up

	// limiting is how a host answers what is over its limit. GitHub says 403, too.
	limiting = regexp.MustCompile(`(?i)returned error: 4(03|29)\b|too many requests`)

	// quotedRepo is how git names the repository that it speaks of.
	quotedRepo = regexp.MustCompile(`'https://([a-z0-9.-]+/[\w./~+-]+?)(\.git)?/?'`)
)

// account puts the host's own account of a refusal into e, and remembers a credential
// that was refused. said is what go and git say.
func (d *Direct) account(ctx context.Context, e *OriginError, exit *exitError, said string) {
	if exit.failed != nil {
		return // nobody was reached, so nobody has refused anything
	}
	if exit.withheld != nil {
		e.kind, e.why = originAuth, exit.withheld
		return
	}
	if !refusing.MatchString(said) {
		return
	}
	if why := d.why(ctx, e, exit, said); why != nil {
		e.why = why
		v, ok := errors.AsType[accessVerdict](why)
		switch {
		case ok && v.Limited() && limiting.MatchString(said):
			e.kind = originFault // it has not looked at who asks, nor for what
		case ok && v.Refused() && e.kind == originFault:
			e.kind = originAuth
		}
		if e.kind == originMissing && !errors.Is(why, fs.ErrNotExist) {
			e.kind = originAuth // hosts say "not found" for both
		}
	}
	// The refusal may be of a host that the repository's own led to: git names the
	// first.
	one, ok := errors.AsType[oneRepository](e.why)
	if rejected.MatchString(said) && !(ok && one.OneRepository()) {
		for host, c := range exit.told {
			d.refusals.add(c.key(host), whyOr(e), d.opts.Now().Add(refusedFor))
		}
	}
}

// accessVerdict is a host's account that says whether it has looked at who asks.
type accessVerdict interface {
	error
	Limited() bool // not yet: there were too many requests
	Refused() bool // yes, and it says no
}

// oneRepository is a host's account by which the credential is good for others.
type oneRepository interface {
	error
	OneRepository() bool
}

// whyOr is what a refused credential is remembered by.
func whyOr(e *OriginError) error {
	if e.why != nil {
		return e.why
	}
	return errors.New(e.Text)
}

// why asks the host.
func (d *Direct) why(ctx context.Context, e *OriginError, exit *exitError, said string) error {
	if d.opts.Why == nil {
		return nil
	}
	repo := refusedRepo(e.Module.Path, said)
	if repo == "" {
		return nil
	}
	host, _, _ := strings.Cut(repo, "/")
	key := "why " + repo + " " + exit.told[host].key(host) // another credential, another answer
	if err := d.refusals.of(key, d.opts.Now()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, whyLimit)
	defer cancel()
	err := d.opts.Why(ctx, repo, e)
	if err != nil {
		d.refusals.add(key, err, d.opts.Now().Add(whyFor))
	}
	return err
}

// refusedRepo is the repository that go and git speak of, as HOST/PATH.
func refusedRepo(modPath, said string) string {
	if repo, ok := fixedRepo(modPath); ok {
		return strings.TrimSuffix(repo.root, ".git")
	}
	if m := quotedRepo.FindStringSubmatch(said); m != nil {
		return m[1]
	}
	return ""
}
