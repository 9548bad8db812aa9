package cmd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/sync/errgroup"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve"
	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
	"github.com/gomirror/gomirror/serve/daemon"
	"github.com/gomirror/gomirror/serve/mirror"
	"github.com/gomirror/gomirror/serve/prefetch"
	"github.com/gomirror/gomirror/serve/sumdb"
	"github.com/gomirror/gomirror/serve/upstream"
)

// assembly is a sidecar put together. Its parts are made in the order of the fields,
// each from those above it.
type assembly struct {
	env     *Env
	s       *settings
	goEnv   *goEnv // the user's, without us
	log     *slog.Logger
	hopID   string
	private atomic.Pointer[patternSet]
	tokens  *credential.Store

	store  *cache.Store
	client *http.Client
	github *github.Client
	tunnel *upstream.Tunnel
	public upstream.Source // the origins of public modules
	origin upstream.Source // and of private ones
	roots  string          // PEM file of all roots that go and git trust
	chain  *upstream.Chain
	sums   *sumdb.Database
	mirror *mirror.Mirror
	ahead  *prefetch.Prefetch

	listener   net.Listener
	capability string
	server     *serve.Server
	control    *daemon.Control
	started    time.Time

	closers []func() error // of parts that hold something, the last made first
}

// serveForeground wires the parts and serves until ctx ends.
func serveForeground(ctx context.Context, env *Env, s *settings, opts serveOptions) (err error) {
	keepPrivate()               // before the first file
	hardened := hardenProcess() // before the first secret
	lock, err := daemon.Acquire(s.stateDir)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	a := &assembly{env: env, s: s, log: env.logger(s, opts), started: env.Now()}
	if hardened != nil {
		a.log.Warn("crash dumps may tell secrets", "err", hardened)
	}
	a.keep(lock.Release)
	defer func() { err = errors.Join(err, a.close()) }()
	for _, part := range []func(context.Context) error{a.readGo, a.openStore, a.reachUpstreams, a.verify, a.read} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	if err := a.listen(stop, opts); err != nil {
		return err
	}
	doc := a.status()
	a.noteStart(doc)
	env.announce(&doc, "serving")
	group, ctx := errgroup.WithContext(ctx) // its goroutines end with ctx, or with the first that fails
	group.Go(func() error { return a.server.Run(ctx, a.listener) })
	group.Go(func() error { return a.control.Run(ctx) })
	group.Go(func() error { return a.recheck(ctx) })
	group.Go(func() error { return a.ahead.Run(ctx) })
	return group.Wait()
}

func (a *assembly) keep(closer func() error) { a.closers = append(a.closers, closer) }

func (a *assembly) close() error {
	var errs []error
	for _, closer := range slices.Backward(a.closers) {
		errs = append(errs, closer())
	}
	return errors.Join(errs...)
}

// readGo asks the go command what the user has set.
func (a *assembly) readGo(ctx context.Context) (err error) {
	if a.goEnv, err = readGoEnv(ctx, a.env); err != nil {
		return err
	}
	a.private.Store(newPatternSet(a.s.private, a.goEnv))
	a.tokens = a.env.tokens(a.s, rememberTokens)
	id := make([]byte, 8)
	rand.Read(id) // never fails
	a.hopID = hex.EncodeToString(id)
	return nil
}

func (a *assembly) openStore(context.Context) (err error) {
	if a.store, err = cache.Open(cache.Options{Dir: a.s.cacheDir, Now: a.env.Now, Log: a.log}); err != nil {
		return err
	}
	a.keep(a.store.Close)
	return nil
}

// verify makes the client of the checksum database.
func (a *assembly) verify(context.Context) (err error) {
	a.sums, err = sumdb.New(sumdb.Options{
		GOSUMDB:  a.goEnv.GOSUMDB,
		NoSumDB:  a.goEnv.GONOSUMDB,
		Private:  a.isUnasked,
		Origin:   a.isPrivate,
		StateDir: filepath.Join(a.s.stateDir, "sumdb"),
		CacheDir: filepath.Join(a.s.cacheDir, "sumdb"),
		Remotes:  a.relays,
		Vouched:  func(of module.Version, h1 string) bool { return a.ahead.Vouches(of, h1) },
		Client:   a.client,
		Offline:  a.s.offline,
		HopID:    a.hopID,
		Log:      a.log,
	})
	if err != nil {
		return err
	}
	a.keep(a.sums.Close)
	return nil
}

// read makes the read-through policy, and what asks it ahead of the go command.
func (a *assembly) read(context.Context) error {
	mode := prefetch.Mode(a.s.prefetch)
	if a.s.offline {
		mode = prefetch.Off
	}
	budget, err := parseSize(a.s.budget)
	if err != nil {
		return err // the settings were checked
	}
	if budget == 0 && mode == prefetch.Full {
		mode = prefetch.Metadata
	}
	a.ahead = prefetch.New(prefetch.Options{
		Get:     func(ctx context.Context, key cache.Key) (*mirror.Answer, error) { return a.mirror.Get(ctx, key) },
		Mode:    mode,
		Budget:  budget,
		Private: a.isPrivate,
		Projects: func() []prefetch.Project {
			through := func(goproxy string) bool { return strings.Contains(goproxy, a.capability) }
			return prefetch.Running(through, a.listener.Addr().(*net.TCPAddr).Port)
		},
		Now: a.env.Now,
		Log: a.log,
	})
	a.origin = a.direct(privateClones)
	a.mirror = mirror.New(mirror.Options{
		Store:    a.store,
		Source:   a.chain,
		Offline:  a.s.offline,
		Online:   online(a.s),
		Private:  a.isPrivate,
		Origin:   a.origin,
		Verify:   a.sums.Verify,
		Announce: a.sums.Announce,
		Settle:   func(key cache.Key) { a.sums.Settle(a.store, key) },
		Asked:    a.ahead.Asked,
		Now:      a.env.Now,
		Log:      a.log,
	})
	a.keep(a.mirror.Close)
	return nil
}

// listen takes the address and the control socket. From here on others find us.
func (a *assembly) listen(stop func(), opts serveOptions) (err error) {
	if a.listener, err = daemon.Address(a.s.stateDir, a.s.listen); err != nil {
		return err
	}
	a.keep(func() error { a.listener.Close(); return nil }) // closed already if Run has begun
	port := a.listener.Addr().(*net.TCPAddr).Port
	if a.capability, err = daemon.Capability(a.s.stateDir, opts.rotateURL); err != nil {
		return err
	}
	hello, err := daemon.Hello(a.s.stateDir, port)
	if err != nil {
		return err
	}
	a.server, err = serve.New(serve.Options{
		Capability: a.capability,
		Port:       port,
		AllowHosts: a.s.allowHosts,
		PeerCheck:  a.s.peerCheck,
		HopID:      a.hopID,
		Get:        a.mirror.Get,
		SumDB:      a.sums,
		Cause:      func(err error) string { return string(doctor.VerdictOf(err)) },
		Private:    a.isPrivate,
		Hello:      hello,
		Log:        a.log,
	})
	if err != nil {
		return err
	}
	a.control, err = daemon.NewControl(daemon.ControlOptions{
		StateDir: a.s.stateDir,
		Status:   func() any { return a.status() },
		Patterns: func() []string { return a.private.Load().origin },
		Failures: func() any { return a.server.Failures() },
		Stop:     stop,
		Refresh:  a.refresh,
		Resolve:  a.resolve,
		Log:      a.log,

		ForgetTokens: a.forgetTokens,
	})
	return err
}

func (a *assembly) url() string {
	return fmt.Sprintf("http://%s/t/%s", a.listener.Addr(), a.capability)
}

// recheckEvery is how often versions that no database could vouch for are tried
// again: often enough for a laptop that is online for minutes.
const recheckEvery = 5 * time.Minute

// recheck verifies later what could not be verified when it came.
func (a *assembly) recheck(ctx context.Context) error {
	if a.s.offline {
		return nil
	}
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-a.sums.Due():
		}
		if n, err := a.sums.Recheck(ctx, a.store); err != nil && ctx.Err() == nil {
			a.log.Warn("versions not rechecked", "err", err)
		} else if n > 0 {
			a.log.Info("versions rechecked", "count", n)
		}
	}
}
