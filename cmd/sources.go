package cmd

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/credential/github"
	"github.com/gomirror/gomirror/serve/sumdb"
	"github.com/gomirror/gomirror/serve/upstream"
)

// reachUpstreams makes the chain of public upstreams.
func (a *assembly) reachUpstreams(ctx context.Context) (err error) {
	a.client, err = upstream.NewClient(upstream.ClientOptions{
		Dial:      a.env.Dial,
		CAFile:    a.s.caFile,
		ProxyFunc: http.ProxyFromEnvironment,
		Trusted:   a.trusted(),
		Lookup:    a.env.Lookup,
	})
	if err != nil {
		return err
	}
	a.github = github.New(github.Options{HTTP: a.client, Now: a.env.Now})
	a.tunnel, err = upstream.NewTunnel(upstream.TunnelOptions{
		Trusted:   a.trusted(),
		ProxyFunc: http.ProxyFromEnvironment,
		Lookup:    a.env.Lookup,
		Dial:      a.env.Dial,
		Log:       a.log,
	})
	if err != nil {
		return err
	}
	a.keep(a.tunnel.Close)
	list, builtin, err := upstreamList(ctx, a.env, a.s, a.goEnv)
	if err != nil {
		return err
	}
	entries, err := upstream.ParseList(list)
	if err != nil {
		return failf("gomirror config set upstream LIST", "read the upstream list: %w", err)
	}
	a.public = a.direct(publicClones)
	a.chain, err = upstream.NewChain(upstream.ChainOptions{
		Entries: entries,
		Default: builtin,
		Client:  a.client,
		Direct:  a.public,
		Known:   func(modPath string) bool { return a.store.Known(cache.Public, modPath) },
		Origin:  func(modPath string) bool { return a.store.CameFrom(upstream.DirectName, modPath) },
		HopID:   a.hopID,
		Log:     a.log,

		StateFile: filepath.Join(a.s.stateDir, "upstreams.json"),
	})
	if err != nil {
		return err
	}
	a.keep(a.chain.Close)
	return nil
}

// trusted tells the hosts that may have addresses inside the user's network: those
// the user has named, has a token for, and GitHub, which some networks reach by a
// proxy of their own.
func (a *assembly) trusted() func(host string) bool {
	places, _, _ := a.env.tokenPlaces(a.tokens) // without them a host has to be named
	named := upstream.MatchHost(slices.Concat(a.s.hosts, places, []string{"github.com", "api.github.com"}))
	return func(host string) bool { return named(host) || a.private.Load().isHost(host) }
}

// The folders of clones below vcs/ in the cache.
const (
	publicClones  = "public"
	privateClones = "private"
)

// direct makes the source that asks a module's origin. Public and private clones
// never share a folder.
func (a *assembly) direct(tree string) upstream.Source {
	source, err := a.newDirect(tree)
	if err != nil {
		a.log.Warn("direct downloads are off", "err", err)
		return unavailable{fmt.Errorf("direct downloads are off: %w", err)}
	}
	return source
}

func (a *assembly) newDirect(tree string) (upstream.Source, error) {
	goCmd, err := toolPath("go")
	if err != nil {
		return nil, err
	}
	git, err := toolPath("git")
	if err != nil {
		return nil, err
	}
	if a.roots == "" { // once for both trees: to parse them all takes milliseconds
		a.roots, err = upstream.RootsFile(a.s.caFile, a.s.stateDir, a.env.Getenv("SSL_CERT_FILE"))
		if err != nil {
			return nil, err
		}
	}
	opts := upstream.DirectOptions{
		Go: goCmd, Git: git,
		VCSDir:  filepath.Join(a.s.cacheDir, "vcs", tree),
		TempDir: filepath.Join(a.s.cacheDir, "vcs", "tmp"),
		CAFile:  a.roots,
		NoSumDB: func() string { return strings.Join(a.private.Load().origin, ",") },
		Tunnel:  a.tunnel,
		Switch:  func() (string, string) { return a.url(), a.goEnv.GOSUMDB },
		Listed:  func(modPath string, commits map[string]string) { a.mirror.Listed(modPath, commits) },
		Log:     a.log,
	}
	if tree == privateClones { // no public module is worth a token
		opts.Credential, opts.Why, opts.Vouched = a.credential, a.why, a.trusted()
	}
	return upstream.NewDirect(opts)
}

// toolPath finds a program once, at start: children have no PATH of the user's.
func toolPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// unavailable is a source that can't be had on this machine.
type unavailable struct{ err error }

func (u unavailable) Fetch(context.Context, upstream.Request, upstream.Sink) error { return u.err }

// relays are the upstreams that may pass on a checksum database.
func (a *assembly) relays() []sumdb.Remote {
	var relays []sumdb.Remote
	for _, p := range a.chain.Proxies() {
		relays = append(relays, p)
	}
	return relays
}
