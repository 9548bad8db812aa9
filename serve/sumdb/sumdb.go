// Package sumdb checks module downloads against checksum databases and relays
// those databases to the go command.
//
// A [Database] is a real client of the database that GOSUMDB names: a signed tree
// head that only moves forward, and an own copy of every tile and lookup that it
// has verified. A draft is judged by it before it is committed ([Database.Verify]),
// and the go command's questions below /sumdb/ are answered from the same copy.
//
// The one idea: record and tree head of a lookup are independent, so every lookup
// that is held is answered with the newest head that is held. The copy is kept so
// that this works with no network at all, see [head].
//
// Protocol: https://go.dev/ref/mod#checksum-database and
// https://go.dev/design/25530-sumdb.
package sumdb

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/module"
)

// Options configure a [Database].
type Options struct {
	// GOSUMDB as go env prints it: "off", NAME, KEY or "KEY URL". Empty means the go
	// command's default database.
	GOSUMDB string
	// NoSumDB is GONOSUMDB: patterns of modules that are not verified.
	NoSumDB string
	// Private says which modules no database is ever asked about. Nil means none.
	Private func(modPath string) bool
	// Origin says which modules come from their origin alone. Whether one of them is
	// private is not known, so we look up none by ourselves: the relay asks for what
	// the go command wants to know. Nil means none.
	Origin func(modPath string) bool
	// Vouched reports whether the go.sum of a project in which go asks us has a hash for a
	// version, which ends in /go.mod for that of a .mod. Nil means that none has.
	Vouched func(of module.Version, h1 string) bool
	// StateDir keeps the tree heads, CacheDir the lookups and tiles. Both are folders
	// of this package's own. Required.
	StateDir, CacheDir string
	// Remotes returns the upstream proxies that may relay a database, in order. They
	// are asked before the database itself. Nil means none.
	Remotes func() []Remote
	// Client asks a database directly. Nil means http.DefaultClient.
	Client *http.Client
	// HopID is our id in upstream.HopHeader: what GOSUMDB names may lead back to us.
	HopID string
	// Offline stops all remote reads.
	Offline bool
	Log     *slog.Logger     // nil discards
	Now     func() time.Time // nil means time.Now
}

// A Remote is a place that may relay a database, such as a module proxy. Get returns
// the body of a 200 answer. An error that Is fs.ErrNotExist is a 404 or 410.
type Remote interface {
	Name() string
	Get(ctx context.Context, path string) ([]byte, error)
}

// Database verifies downloads and relays checksum databases.
type Database struct {
	opts    Options
	main    *client   // of GOSUMDB; nil when that is off
	tools   *client   // verifies golang.org/toolchain, whatever GOSUMDB says
	clients []*client // all, the longest name first
	state   *os.Root
	cache   *os.Root
	ctx     context.Context // until Close
	stop    context.CancelFunc
	due     *due
	doubts  sync.Map // cache.Key -> *flight, of what was trusted and is not proven yet

	mu       sync.Mutex     // held to close, and to begin a settling
	settling sync.WaitGroup // no Add after ctx ended
}

// New opens the databases' state. Nothing is asked before the first use.
func New(opts Options) (*Database, error) {
	return newDatabase(opts, defaultSource())
}

// newDatabase lets tests stand in for the go command's default database.
func newDatabase(opts Options, std source) (_ *Database, err error) {
	if opts.Private == nil {
		opts.Private = func(string) bool { return false }
	}
	if opts.Origin == nil {
		opts.Origin = func(string) bool { return false }
	}
	if opts.Vouched == nil {
		opts.Vouched = func(module.Version, string) bool { return false }
	}
	if opts.Remotes == nil {
		opts.Remotes = func() []Remote { return nil }
	}
	opts.Client = cmp.Or(opts.Client, http.DefaultClient)
	opts.Log = cmp.Or(opts.Log, slog.New(slog.DiscardHandler))
	if opts.Now == nil {
		opts.Now = time.Now
	}
	own, err := parseGOSUMDB(opts.GOSUMDB, std)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &Database{opts: opts, ctx: ctx, stop: stop, due: newDue()}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if d.state, err = openRoot(opts.StateDir); err != nil {
		return nil, err
	}
	if d.cache, err = openRoot(opts.CacheDir); err != nil {
		return nil, err
	}
	// The relay always knows the default database: the go command asks it about
	// toolchains.
	sources := []source{std}
	if own.name == std.name {
		sources = []source{own}
	} else if own.name != "" {
		sources = append(sources, own)
	}
	for _, src := range sources {
		c, err := d.newClient(src, d.newReach(ctx, src))
		if err != nil {
			return nil, err
		}
		d.clients = append(d.clients, c)
		if src.name == own.name {
			d.main = c
		}
	}
	d.tools = cmp.Or(d.main, d.clients[0])
	slices.SortFunc(d.clients, func(a, b *client) int { return len(b.name) - len(a.name) })
	if !opts.Offline {
		d.due.arm() // a stop, or worse, may have come before a proof
	}
	return d, nil
}

func openRoot(dir string) (*os.Root, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open checksum database folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open checksum database folder: %w", err)
	}
	return root, nil
}

func (d *Database) newReach(ctx context.Context, src source) *reach {
	return &reach{
		ctx: ctx, name: src.name, proxies: d.opts.Remotes, direct: src.remotes(d.opts.Client, d.opts.HopID),
		offline: d.opts.Offline, persist: persistFor, now: d.opts.Now, log: d.opts.Log.With("sumdb", src.name), health: map[string]*health{},
	}
}

func subRoot(root *os.Root, folder string) (*os.Root, error) {
	if err := root.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("open checksum database folder: %w", err)
	}
	return root.OpenRoot(folder)
}

// Close ends lookups that still run. The Database is not used afterwards.
func (d *Database) Close() error {
	d.mu.Lock()
	d.stop()
	d.mu.Unlock()
	d.settling.Wait()
	d.due.stop()
	for _, c := range d.clients {
		c.state.Close()
		c.copy.root.Close()
	}
	for _, root := range []*os.Root{d.state, d.cache} {
		if root != nil {
			root.Close()
		}
	}
	return nil
}

// Status is what status and doctor show.
type Status struct {
	Name       string   // of the database in GOSUMDB; empty when that is off
	TreeSize   int64    // of the newest tree head that is held
	Fork       string   // what is known about a database that contradicts itself; empty if none does
	OutOfReach bool     // the last question got no answer from anywhere
	Names      []string // of all databases that are relayed
}

// Status reports without asking anyone.
func (d *Database) Status() Status {
	var s Status
	shown := d.tools
	if d.main != nil {
		s.Name = d.main.name
	}
	// A damaged head shows as an empty tree here and as itself in the next lookup.
	if newest, err := shown.head.load(); err == nil {
		s.TreeSize = newest.tree.N
	}
	s.OutOfReach = shown.reach.outOfReach()
	for _, c := range d.clients {
		s.Names = append(s.Names, c.name)
		if fork := c.forked(); fork != "" && s.Fork == "" {
			s.Fork = c.name + ": " + fork
		}
	}
	return s
}
