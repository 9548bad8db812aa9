// Package serve answers the go command over HTTP on the loopback address.
//
// A request passes the guard, names its answer by the path below the capability,
// /t/CAPABILITY/KEY, and gets what Options.Get finds for that [cache.Key]. The guard
// comes first because the port is open to every local user and, by way of a browser,
// to every web page: what does not look like the go command, or does not know the
// capability, learns nothing.
//
// Answers follow the module proxy protocol, https://go.dev/ref/mod#goproxy-protocol.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/mirror"
)

// Options are the settings of a Server.
type Options struct {
	Capability string   // required: the 32 hex digits that every path begins with
	Port       int      // required: the port in the address that clients use
	AllowHosts []string // more values of the Host header: HOST:PORT, or HOST with Port
	PeerCheck  bool     // Linux: refuse connections of other local users
	HopID      string   // our id in the Gomirror-Hop header

	// Get answers a key, required. An error that Is fs.ErrNotExist becomes a 404.
	Get func(context.Context, cache.Key) (*mirror.Answer, error)
	// SumDB answers /sumdb/ paths. Nil means that there is no such path.
	SumDB http.Handler
	// Private reports whether a log must not name the module. Nil means that none is.
	Private func(modPath string) bool
	// Cause sorts the error of a request, for [Failure]. Nil sorts none.
	Cause func(error) string
	// Hello proves to a client, before it sends the capability, that this is its own
	// sidecar. Nil means that there is no such path.
	Hello func(nonce string) string

	Log *slog.Logger // nil discards
}

// Time and size limits of a connection. There is none on the number of connections
// nor on the whole of a request: the go command keeps many waiting for a miss, and a
// slow disk may take minutes to read a zip.
const (
	headerTime  = 5 * time.Second  // for a request's header to arrive
	idleTime    = 60 * time.Second // for a kept-alive connection
	stallTime   = 60 * time.Second // for a client to take some of its answer
	stopTime    = 5 * time.Second  // for running requests when the server stops
	headerBytes = 16 << 10         // the go command sends 200
)

// Server is the HTTP face of the proxy.
type Server struct {
	opts     Options
	hosts    map[string]bool // accepted values of the Host header
	peer     peerCheck       // nil without Options.PeerCheck
	stall    time.Duration
	counters counters
	failures failures

	strangers uids
}

var capabilityForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// New returns a Server, or an error that says which option is wrong.
func New(opts Options) (*Server, error) {
	switch {
	case !capabilityForm.MatchString(opts.Capability):
		return nil, errors.New("serve: the capability is not 32 hex digits")
	case opts.Get == nil:
		return nil, errors.New("serve: no Get")
	case opts.Port < 1 || opts.Port > 65535:
		return nil, fmt.Errorf("serve: port %d is none", opts.Port)
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Private == nil {
		opts.Private = func(string) bool { return false }
	}
	hosts, err := acceptedHosts(opts.Port, opts.AllowHosts)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, hosts: hosts, stall: stallTime}
	if opts.PeerCheck {
		s.peer = newPeerCheck()
	}
	return s, nil
}

// Run answers requests on l until ctx ends, then gives those that run some seconds.
// It closes l. It returns nil if it ended because ctx did.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	var plain http.Protocols
	plain.SetHTTP1(true)
	server := &http.Server{
		Handler:           s,
		Protocols:         &plain,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerBytes,
		ConnContext:       withConn,
		ErrorLog:          slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelWarn),

		DisableGeneralOptionsHandler: true, // the guard refuses "OPTIONS *" too
	}
	stopped := make(chan error, 1)
	// Ends when the running requests have, or after stopTime.
	cancel := context.AfterFunc(ctx, func() {
		grace, done := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer done()
		err := server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		stopped <- err
	})
	err := server.Serve(&listener{l, s.stall})
	if cancel() {
		server.Close()
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	}
	return <-stopped
}

// Stats counts what the server did since it started.
type Stats struct {
	Requests       int64 `json:"requests"`
	Bytes          int64 `json:"bytes"`           // of bodies sent
	RefusedHost    int64 `json:"refused_host"`    // a Host that is not ours: DNS rebinding
	RefusedHeader  int64 `json:"refused_header"`  // a browser, by its headers or method
	RefusedUser    int64 `json:"refused_user"`    // another local user
	UnknownUser    int64 `json:"unknown_user"`    // connections whose user could not be told, let in
	UnknownAddress int64 `json:"unknown_address"` // wrong or missing capability
	Panics         int64 `json:"panics"`
}

type counters struct {
	requests, bytes, host, header, user, unknownUser, address, panics atomic.Int64
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	c := &s.counters
	return Stats{c.requests.Load(), c.bytes.Load(), c.host.Load(), c.header.Load(), c.user.Load(),
		c.unknownUser.Load(), c.address.Load(), c.panics.Load()}
}
