package sumdb

import (
	"context"
	"time"

	"github.com/gomirror/gomirror/cache"
	"golang.org/x/mod/module"
)

const (
	// verifyPatience is how long a commit waits for a lookup that is slow. It goes on
	// and the version is checked again later.
	verifyPatience = 10 * time.Second

	// toolchainPath is always verified, as the go command does: no go.sum has it.
	toolchainPath = "golang.org/toolchain"
)

var errPatience = &silenceError{verifyPatience}

// verifier returns the database that vouches for a module, or nil if none is asked.
func (d *Database) verifier(modPath string) *client {
	switch {
	case d.opts.Private(modPath):
		return nil
	case modPath == toolchainPath:
		return d.tools
	case d.main == nil, d.opts.Origin(modPath), module.MatchPrefixPatterns(d.opts.NoSumDB, modPath):
		return nil
	}
	return d.main
}

// Verify judges a checked draft of a .mod or .zip by the checksum database. A
// *cache.ContradictionError says that the database has other bytes. If it can't be
// asked the draft is judged Unverified, for [Database.Recheck] to look at. Other kinds
// have no checksum and are left alone.
func (d *Database) Verify(ctx context.Context, key cache.Key, draft *cache.Draft) error {
	if key.Kind() != cache.Mod && key.Kind() != cache.Zip {
		return nil
	}
	mod := key.Module()
	c := d.verifier(mod.Path)
	if c == nil {
		draft.Judge(cache.Exempt)
		return nil
	}
	patient, cancel := context.WithTimeoutCause(ctx, verifyPatience, errPatience)
	defer cancel()
	rec, err := c.lookupCtx(patient, mod, true)
	if ctx.Err() != nil && err != nil {
		return context.Cause(ctx) // nobody waits for the draft any more
	}
	if err != nil {
		// Not our reader's fault and not fatal: the go command checks its go.sum, and
		// asks the database through the relay for what is not in there.
		c.log.DebugContext(ctx, "download not verified", "key", key, "err", err)
		d.owe(err)
		draft.Judge(cache.Unverified)
		return nil
	}
	version := mod.Version
	if key.Kind() == cache.Mod {
		version += "/go.mod"
	}
	switch want := rec.sum(mod.Path, version); want {
	case draft.H1():
		draft.Judge(cache.Verified)
	case "":
		c.log.WarnContext(ctx, "checksum database has no h1 hash", "key", key)
		draft.Judge(cache.Unverified)
	default:
		return &cache.ContradictionError{Key: key, Got: draft.H1(), Want: want, Authority: c.authority()}
	}
	return nil
}

func (c *client) authority() string { return "checksum database " + c.name }

// Announce looks a version up that will soon be verified, and returns when that is
// done. It runs beside the download.
func (d *Database) Announce(ctx context.Context, mod module.Version) {
	if c := d.verifier(mod.Path); c != nil {
		// Verify meets the same error and judges it.
		_, _ = c.lookupCtx(ctx, mod, true)
	}
}
