package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gomirror/gomirror/cache"
	"golang.org/x/mod/module"
)

// DirectName is the name of a [Direct] in a [cache.Meta].
const DirectName = "direct"

// toolchainPath is the module that the go command fetches other go commands from.
const toolchainPath = "golang.org/toolchain"

// DirectOptions make a [Direct].
type DirectOptions struct {
	Go, Git string  // absolute paths of the tools; required
	VCSDir  string  // 0700, persistent: the children's module cache with its bare repositories; required
	TempDir string  // 0700, ours alone; required
	CAFile  string  // PEM of all roots to trust, see [RootsFile]; "" leaves them to the tools
	Tunnel  *Tunnel // required

	// NoSumDB returns GOPRIVATE and GONOSUMDB of a child. nil means none.
	NoSumDB func() string

	// Credential returns what to tell git when repo's host asks who is there; repo
	// is https://HOST/PATH, without a port. It must go by the exact host. nil tells
	// nobody anything.
	Credential func(ctx context.Context, repo *url.URL) (user, password string, ok bool)

	// Vouched reports whether the import pages of a host may lead to repositories of
	// another that a credential is shown to. nil lets all.
	Vouched func(host string) bool

	// Self is the program that git runs to ask for a credential: cmd.Run hands it to
	// [Askpass]. "" means this program.
	Self string

	// Why returns the host's own account of a refusal, or nil if it has none. repo is
	// "github.com/acme/mod". May be nil.
	Why func(ctx context.Context, repo string, err error) error

	// Listed is told the commits of a module's versions, as its tags are at the
	// origin, with each version list. May be nil.
	Listed func(modPath string, commits map[string]string)

	// Switch returns the GOPROXY and GOSUMDB by which a newer go command may be
	// fetched: our own address and the user's database. nil means it may not.
	Switch func() (goproxy, gosumdb string)

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil discards
}

// Direct is a [Source] that asks a module's origin, by running the go command with
// GOPROXY=direct: import pages, version rules, pseudo-versions and the making of
// zips are the go command's own, so that the bytes are those that plain go gets.
// The children see nothing of the user's environment, have no way out but a
// [Tunnel], and are killed with all they started when ctx ends or when they fall
// silent.
type Direct struct {
	opts     DirectOptions
	locks    keyLocks
	refusals refusals
	heads    heads

	silence, local time.Duration // childSilence and childLocal, but for tests
}

// NewDirect makes the folders and takes away what killed daemons left in them.
func NewDirect(opts DirectOptions) (*Direct, error) {
	for _, tool := range []string{opts.Go, opts.Git} {
		if !filepath.IsAbs(tool) {
			return nil, fmt.Errorf("use %q for direct downloads: not an absolute path", tool)
		}
	}
	if opts.Tunnel == nil || opts.VCSDir == "" || opts.TempDir == "" {
		return nil, errors.New("set up direct downloads: the tunnel or a folder is missing")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.NoSumDB == nil {
		opts.NoSumDB = func() string { return "" }
	}
	if opts.Credential != nil && opts.Self == "" {
		name, err := os.Executable() // once: it may be replaced while the daemon runs
		if err != nil {
			return nil, fmt.Errorf("find our own program, for git to ask: %w", err)
		}
		opts.Self = name
	}
	if err := opts.makeFolders(); err != nil {
		return nil, fmt.Errorf("set up direct downloads: %w", err)
	}
	for _, dir := range []string{opts.VCSDir, opts.TempDir} {
		if err := os.Chmod(dir, 0o700); err != nil { // whatever made it
			return nil, fmt.Errorf("set up direct downloads: %w", err)
		}
	}
	d := &Direct{opts: opts, silence: childSilence, local: childLocal}
	sweepBoxes(opts.TempDir, opts.Now())
	d.heal()
	return d, nil
}

// Fetch runs one child at most for all files of a version that are asked for at
// once; a file that an earlier child left in VCSDir needs none.
func (d *Direct) Fetch(ctx context.Context, req Request, sink Sink) error {
	mod, kind := req.Key.Module(), req.Key.Kind()
	// The go command dials an address of this host past any proxy, the tunnel too.
	host, _, _ := strings.Cut(mod.Path, "/")
	if err := refuseLiteral(host); err != nil {
		return fmt.Errorf("fetch %s from its origin: %w", mod.Path, err)
	}
	lock := req.Key.String()
	if req.Key.Immutable() {
		lock = mod.String()
	}
	unlock, err := d.locks.lock(ctx, lock)
	if err != nil {
		return fmt.Errorf("wait for another download of %s: %w", mod, err)
	}
	defer unlock()
	sink = sink.own()
	switch kind {
	case cache.List:
		return d.fetchList(ctx, req.Key, sink)
	case cache.Latest, cache.Query:
		return d.fetchQuery(ctx, req.Key, sink)
	}
	return d.fetchVersion(ctx, req.Key, sink)
}

// listed is what `go list -m -json` prints.
type listed struct {
	Version  string
	Time     time.Time
	Versions []string
	Origin   json.RawMessage
}

// list runs `go list -m -json` with further flags.
func (d *Direct) list(ctx context.Context, mod module.Version, flags ...string) (*listed, error) {
	target := mod.Path
	if mod.Version != "" {
		target += "@" + mod.Version
	}
	args := append([]string{"list", "-m", "-json"}, flags...)
	out, err := d.run(ctx, child{tool: d.opts.Go, args: append(args, "--", target), env: d.sumdb(mod), origin: true, modPath: mod.Path, repo: fixedURL(mod.Path)})
	if err != nil {
		return nil, d.explain(ctx, mod, err, "")
	}
	var l listed
	if err := json.Unmarshal(out, &l); err != nil {
		return nil, fmt.Errorf("read what go list prints for %s: %w", mod, err)
	}
	return &l, nil
}

// fetchQuery resolves a branch, a commit or "latest" to the .info of a version.
func (d *Direct) fetchQuery(ctx context.Context, key cache.Key, sink Sink) error {
	mod := key.Module()
	if key.Kind() == cache.Latest {
		mod.Version = "latest"
	}
	l, err := d.list(ctx, mod)
	if err != nil {
		return err
	}
	resolved, err := cache.NewKey(mod.Path, l.Version, cache.Info)
	if err != nil || resolved.Kind() != cache.Info {
		return fmt.Errorf("read what go list prints for %s: %q is no version of it", mod, l.Version)
	}
	// The file that go wrote beside, so that the bytes are those that the resolved
	// version has.
	body, err := os.ReadFile(d.file(resolved))
	if err != nil {
		body, err = json.Marshal(struct {
			Version string
			Time    time.Time
			Origin  json.RawMessage `json:",omitempty"`
		}{l.Version, l.Time, l.Origin})
		if err != nil {
			return fmt.Errorf("write the .info of %s: %w", mod, err)
		}
	}
	return sink(key, d.meta(body), bytes.NewReader(body))
}

func (d *Direct) fetchVersion(ctx context.Context, key cache.Key, sink Sink) error {
	if d.holds(key) {
		err := d.deliver(key, sink)
		var invalid *cache.InvalidError
		if !errors.As(err, &invalid) && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		d.drop(key) // cut short by a crash, say: make it anew
	}
	var err error
	switch {
	case key.Kind() == cache.Zip:
		err = d.download(ctx, key.Module())
	case key.Kind() == cache.Info && d.opts.Credential != nil:
		// Who asks the origin's .info mostly wants the zip next, and one child makes
		// both in little more than the time of one. What it can't make, it says when
		// it is asked for the zip.
		err = d.downloadBy(ctx, d.downloader(key.Module()), key.Module(), new(downloaded))
	default:
		_, err = d.list(ctx, key.Module())
	}
	if err != nil && !d.holds(key) {
		return err
	}
	if err := d.deliver(key, sink); err != nil {
		return own(err) // gone as soon as it was made
	}
	for _, kind := range []cache.Kind{cache.Info, cache.Mod, cache.Zip} {
		sibling := key.Sibling(kind)
		if kind == key.Kind() || !d.holds(sibling) {
			continue
		}
		if err := d.deliver(sibling, sink); err != nil {
			// The key that was asked for is kept; who asks for this one hears it.
			d.opts.Log.DebugContext(ctx, "sibling not kept", "key", sibling, "err", err)
		}
	}
	return nil
}

// downloaded is what `go mod download -json` prints.
type downloaded struct {
	Error string
	Dir   string
}

// download makes the zip of a version, with a newer go command if it asks for one.
func (d *Direct) download(ctx context.Context, mod module.Version) error {
	c := d.downloader(mod)
	var result downloaded
	err := d.downloadBy(ctx, c, mod, &result)
	if want, have, ok := needsGo(result.Error); ok && err != nil {
		needs := &needsGoError{mod, want, have, nil}
		if c.tool, needs.cause = d.switchToolchain(ctx, want); needs.cause != nil {
			return needs
		}
		err = d.downloadBy(ctx, c, mod, &result)
	}
	return err
}

func (d *Direct) downloader(mod module.Version) child {
	return child{tool: d.opts.Go, args: []string{"mod", "download", "-json", "--", mod.String()}, env: d.sumdb(mod), origin: true, modPath: mod.Path, repo: fixedURL(mod.Path)}
}

// downloadBy runs one child and reads what it prints into result.
func (d *Direct) downloadBy(ctx context.Context, c child, mod module.Version, result *downloaded) error {
	out, err := d.runLocalFirst(ctx, c, mod)
	*result = downloaded{}
	_ = json.Unmarshal(out, result) // what it can't tell, stderr does
	if err != nil {
		return d.explain(ctx, mod, err, result.Error)
	}
	// go extracts what it downloads; nobody reads that.
	if rest, err := filepath.Rel(d.opts.VCSDir, result.Dir); err == nil && filepath.IsLocal(rest) && mod.Path != toolchainPath {
		_ = os.RemoveAll(result.Dir)
	}
	return nil
}

// runLocalFirst makes the zip of a tag from what the child has fetched that made its
// .info: go asks for the refs all the same, and goes on if it gets none. What fails
// for whatever reason is done again with the origin.
func (d *Direct) runLocalFirst(ctx context.Context, c child, mod module.Version) ([]byte, error) {
	key, err := cache.NewKey(mod.Path, mod.Version, cache.Info)
	if err == nil && d.holds(key) && !module.IsPseudoVersion(mod.Version) && mod.Path != toolchainPath {
		local := c
		local.local, local.env = true, append(slices.Clone(c.env), "GIT_ALLOW_PROTOCOL=none")
		if out, err := d.run(ctx, local); err == nil || ctx.Err() != nil {
			return out, err
		}
	}
	return d.run(ctx, c)
}
