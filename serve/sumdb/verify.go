package sumdb

import (
	"context"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
	"golang.org/x/mod/module"
)

const (
	// verifyPatience is how long a commit waits for a lookup that is slow. It goes on
	// and the version is checked again later.
	verifyPatience = 10 * time.Second

	// proofGrace is how long a proof is waited for that a go.sum could stand in for. Of a
	// database next door it is there by then, and a second verdict costs a write.
	proofGrace = 5 * time.Millisecond

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
// asked the draft is judged Unverified, for [Database.Recheck] to look at; and so it is
// if [Database.trusts] holds, for [Database.Settle], which must be called when the draft
// is kept, or won't be. Other kinds have no checksum and are left alone.
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
	of := mod
	if key.Kind() == cache.Mod {
		of.Version += "/go.mod"
	}
	patient, cancel := context.WithTimeoutCause(ctx, verifyPatience, errPatience)
	defer cancel()
	f, err := c.flight(patient, mod, true)
	if err == nil && mod.Path != toolchainPath && d.trusts(patient, f, of, draft.H1()) {
		d.doubts.Store(key, f)
		draft.Judge(cache.Unverified)
		return nil
	}
	var rec record
	if err == nil {
		rec, err = f.wait(patient)
	}
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
	switch want := rec.sum(of.Path, of.Version); want {
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

// trusts reports whether a file may be served before the database's answer is proven. A
// proof takes a round trip more than the file does, and go waits for one file at a time.
// So it may follow where a client waits, if the database answers with the hash of the
// file and the go.sum of a project in which go asks has the same: go would take these
// bytes from anybody, and asks no database about them. A go without such a go.sum does
// ask, through the relay, and is told what is proven. trusts returns no later than the
// proof comes, or ctx ends.
func (d *Database) trusts(ctx context.Context, f *flight, of module.Version, h1 string) bool {
	awaited, said := upstream.Awaited(ctx), f.said
	if awaited == nil {
		return false
	}
	for awaited != nil || said != nil {
		select {
		case <-f.done:
			return false
		case <-ctx.Done():
			return false
		case <-awaited:
			awaited = nil
		case <-said:
			said = nil
		}
	}
	if f.claim.sum(of.Path, of.Version) != h1 {
		return false
	}
	late := time.NewTicker(proofGrace)
	defer late.Stop()
	for {
		select {
		case <-late.C:
			// Perhaps by now: the project is looked for since the request.
			if d.opts.Vouched(of, h1) {
				return true
			}
		case <-f.done:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// Settle gives its verdict to a file that Verify has trusted, once the proof is there, and
// to no other. It does not wait for that.
func (d *Database) Settle(store *cache.Store, key cache.Key) {
	f, ok := d.doubts.LoadAndDelete(key)
	if !ok || !d.begin() {
		return
	}
	go func() { // ends with verifyPatience, or when the Database is closed
		defer d.settling.Done()
		ctx, cancel := context.WithTimeoutCause(d.ctx, verifyPatience, errPatience)
		defer cancel()
		_, err := f.(*flight).wait(ctx)
		if err == nil {
			_, err = d.recheck(ctx, store, key.Module())
		}
		if err != nil {
			d.opts.Log.DebugContext(ctx, "served before its proof, which fails", "key", key, "err", err)
			d.owe(err)
		}
	}()
}

// begin notes that a settling begins, unless the Database is closed.
func (d *Database) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() == nil {
		d.settling.Add(1)
	}
	return d.ctx.Err() == nil
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
