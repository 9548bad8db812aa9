package cmd

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/gomirror/gomirror/serve/daemon"
	"github.com/gomirror/gomirror/serve/upstream"
)

// patternSet is what a daemon calls private. It is never changed: a bigger one takes
// its place, so that a name that was private once stays so until the daemon ends.
type patternSet struct {
	served  []string // of the settings
	origin  []string // of modules that go to their origin only: those and the go command's
	unasked []string // of modules that no checksum database is asked about

	isPrivate func(modPath string) bool // by origin
	isUnasked func(modPath string) bool
	isHost    func(host string) bool // of a module by origin
}

// newPatternSet leaves GONOPROXY out of unasked: who sets it alone may want checksums
// of public forks, and the go command asks for them. GONOSUMDB routes nothing: where
// the database is blocked people set it to *.
func newPatternSet(served []string, g *goEnv) *patternSet {
	p := &patternSet{
		served:  served,
		origin:  unite(served, patterns(g.GOPRIVATE), patterns(g.GONOPROXY)),
		unasked: unite(served, patterns(g.GOPRIVATE)),
	}
	p.isPrivate, p.isUnasked = upstream.MatchPrivate(p.origin), upstream.MatchPrivate(p.unasked)
	p.isHost = upstream.MatchHost(p.origin)
	return p
}

// isPrivate goes by the patterns of this moment, as isUnasked does.
func (a *assembly) isPrivate(modPath string) bool { return a.private.Load().isPrivate(modPath) }

func (a *assembly) isUnasked(modPath string) bool { return a.private.Load().isUnasked(modPath) }

// rereadPrivate adds what config.toml calls private by now, whatever flag or variable
// went before it at the start: the user has just declared it, and waits for no restart
// before pulling it.
func (a *assembly) rereadPrivate() error {
	text, err := readConfigText(a.s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	declared, err := privateIn(a.s.file, string(text))
	if err != nil {
		return err
	}
	for {
		old := a.private.Load()
		served := unite(old.served, declared)
		if len(served) == len(old.served) {
			return nil
		}
		if a.private.CompareAndSwap(old, newPatternSet(served, a.goEnv)) {
			a.log.Info("private patterns read anew", "count", len(served)) // they are names themselves
			return nil
		}
	}
}

// privateIn returns the private patterns in the text of config.toml. Unlike
// readConfigFile it takes unknown keys: they must not keep a pattern from counting.
func privateIn(file, text string) ([]string, error) {
	k, err := findKey("private", "")
	if err != nil {
		return nil, err
	}
	values, err := parseConfig(file, text)
	if err != nil || values[k.name] == nil {
		return nil, err
	}
	list, err := fileValue(k, values[k.name])
	return patterns(list), err
}

// tellPrivate has a running daemon read what config.toml calls private, was before and
// now after an edit. What it can't be told it goes on without, and the user learns how
// to change that; so too with a daemon of an older release, which reads nothing anew.
func tellPrivate(ctx context.Context, env *Env, s *settings, was, now []string) {
	forgetTokens(ctx, env, s)
	var known []string
	client, err := daemon.Dial(s.stateDir)
	if err == nil {
		known, err = client.Patterns(ctx)
	}
	lacks := func(in []string) func(string) bool {
		return func(p string) bool { return !slices.Contains(in, p) }
	}
	switch {
	case errors.Is(err, daemon.ErrNotRunning):
	case err != nil, slices.ContainsFunc(now, lacks(known)):
		env.note("%s%s", staleSettings, env.startAnew(ctx, s, "private"))
	case slices.ContainsFunc(now, lacks(was)):
		// Its go command may go past us, to a mirror or the database.
		env.note("the daemon goes by it from now on; a shell that was set up before has to be told: eval \"$(gomirror env)\"")
	}
	switch {
	case err != nil:
	case slices.ContainsFunc(was, lacks(now)):
		env.note("what is private no longer stays so in the daemon that runs; to change that: gomirror stop && gomirror serve --background")
	}
}
