package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
)

// probe is one owner that a private pattern names, and whether what is there can be
// read.
type probe struct {
	place   credential.Place
	setting bool       // the pattern is one that gomirror serves
	held    *heldToken // the token that goes for it; nil if there is none
	repo    string     // that was asked for, "github.com/acme/x"; "" if none is known
	blind   bool       // the token sees nothing of this owner
	err     error
}

// owners returns who is named by the private patterns, on hosts that are GitHub's.
func (w *wallet) owners() (probes []probe) {
	served := slices.Concat(w.o.Private, w.o.Daemon().Status.Served)
	own := w.o.Go().Own
	all := slices.Concat(served, w.o.Daemon().Status.Private, strings.Split(own.GOPRIVATE+","+own.GONOPROXY, ","))
	for _, pattern := range all {
		parts := strings.Split(strings.TrimSpace(pattern), "/")
		if len(parts) < 2 || strings.ContainsAny(parts[0]+parts[1], `*?[\`) || parts[1] == "" || !w.isGitHub(parts[0]) {
			continue // all of a host has no owner to ask about
		}
		p := probe{place: credential.Place{Host: strings.ToLower(parts[0]), Owner: strings.ToLower(parts[1])}, setting: slices.Contains(served, pattern)}
		if len(parts) > 2 && !strings.ContainsAny(parts[2], `*?[\`) {
			p.repo = strings.Join(parts[:3], "/")
		}
		same := func(q probe) bool { return q.place == p.place && (q.repo == p.repo || p.repo == "") }
		if !slices.ContainsFunc(probes, same) {
			probes = append(probes, p)
		}
	}
	return probes
}

// isGitHub reports whether a host answers as GitHub does: nobody has tokens elsewhere.
func (w *wallet) isGitHub(host string) bool {
	host = strings.ToLower(host)
	return host == "github.com" || strings.HasSuffix(host, ".ghe.com") ||
		slices.ContainsFunc(w.held, func(h *heldToken) bool { return h.place.Host == host })
}

// tokenOf returns the token that goes for a place, as the store chooses it.
func (w *wallet) tokenOf(p credential.Place) *heldToken {
	for _, want := range []func(*heldToken) bool{
		func(h *heldToken) bool { return h.source == ownVariable && p.Host == "github.com" },
		func(h *heldToken) bool { return h.place == p },
		func(h *heldToken) bool { return h.place == credential.Place{Host: p.Host} },
	} {
		if i := slices.IndexFunc(w.held, want); i >= 0 {
			return w.held[i]
		}
	}
	return nil
}

// probe asks for one repository of each owner, all at once.
func (w *wallet) probe(ctx context.Context) []probe {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	w.ask(ctx)
	w.probing.Do(func() {
		w.probes = w.owners()
		seen := map[*heldToken]func() ([]github.Owner, error){}
		var asks sync.WaitGroup // each ends with its requests
		for i := range w.probes {
			p := &w.probes[i]
			p.held = w.tokenOf(p.place)
			if p.held == nil || p.held.err != nil || p.held.denied != nil {
				continue
			}
			h := p.held
			if seen[h] == nil {
				seen[h] = sync.OnceValues(func() ([]github.Owner, error) { return w.o.GitHub.Owners(ctx, h.place.Host, h.secret) })
			}
			asks.Go(func() { w.probeOwner(ctx, p, seen[h]) })
		}
		asks.Wait()
	})
	return w.probes
}

// probeOwner asks for the repository that a pattern names, else for one that the token
// sees.
func (w *wallet) probeOwner(ctx context.Context, p *probe, owners func() ([]github.Owner, error)) {
	if p.repo == "" {
		list, err := owners()
		if err != nil {
			p.err = err
			return
		}
		i := slices.IndexFunc(list, func(o github.Owner) bool { return strings.EqualFold(o.Name, p.place.Owner) })
		if i < 0 {
			p.blind = !strings.EqualFold(p.held.account.Login, p.place.Owner)
			return
		}
		p.repo = list[i].Example
	}
	if p.repo != "" {
		p.err = w.o.GitHub.Why(ctx, p.repo, p.held.secret)
	}
}

// checkOwners says of each owner that a private pattern names whether pulls from there
// can work.
func (w *wallet) checkOwners(ctx context.Context) []Finding {
	if none := w.nothingToAsk(); none != nil {
		return none
	}
	var findings []Finding
	readable, silent := 0, 0
	for _, p := range w.probe(ctx) {
		found := w.judgeOwner(p)
		switch {
		case found != nil:
			findings = append(findings, found...)
		case p.held == nil, p.held.err != nil, p.held.denied != nil, p.blind:
			silent++
		default:
			readable++
		}
	}
	switch {
	case len(findings) > 0:
		return findings
	case readable > 0:
		return say(OK, "", "the token reads what %s", namedBy(readable))
	case silent > 0:
		return say(Skipped, "", "there is no token to try on what private patterns name")
	}
	return say(Skipped, "", "no private pattern names an owner on GitHub")
}

func namedBy(n int) string {
	if n == 1 {
		return "1 private pattern names"
	}
	return counted(n, "private pattern") + " name"
}

// judgeOwner returns what stands between the user and an owner's modules.
func (w *wallet) judgeOwner(p probe) []Finding {
	if p.held == nil {
		if !p.setting {
			return nil // go fetches it by itself, by ssh perhaps
		}
		return say(Fail, login(credential.Place{Host: p.place.Host}), "there is no token for %s, which the setting private names", p.place)
	}
	if p.held.account.Lacks() != "" {
		return nil // A03 tells, and it can't see anything without
	}
	for org, url := range p.held.account.SSO {
		if strings.EqualFold(org, p.place.Owner) {
			return say(Fail, browse(w.o.GOOS, url), "the organisation %s wants the token authorised for its single sign-on", org)
		}
	}
	if p.blind {
		return say(Warn, login(p.place), "the token of %s sees no repository of %s", p.held.place, p.place)
	}
	access, ok := errors.AsType[*github.AccessError](p.err)
	switch {
	case p.err == nil, ok && access.Lacks != "": // what it lacks A03 tells
		return nil
	case !ok:
		return say(Warn, "gomirror auth status", "%v", p.err)
	}
	access.Source = p.held.source
	switch access.Kind {
	case github.RateLimit:
		return say(Warn, "wait until "+access.Until.Local().Format("15:04"), "%v", access)
	case github.Unreachable:
		return say(Warn, "gomirror doctor --only N01", "%s can't be asked, for %s: %v", p.place.Host, layerOf(access.Err), access.Err)
	}
	return say(Fail, runnable(w.o.GOOS, access.Hint()), "%v", access)
}
