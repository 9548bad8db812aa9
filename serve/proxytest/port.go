package proxytest

import (
	"errors"
	"net"
	"testing"
)

// ClosedPort returns an address that refuses connections until the test ends. A port that
// is only closed is soon handed out again, to a server of another test or a proxy.
func ClosedPort(tb testing.TB) string {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	release, err := keepPort(ln)
	if err != nil {
		tb.Fatalf("keep a port: %v", err)
	}
	tb.Cleanup(release)
	ln.Close()
	return ln.Addr().String()
}

// keepPort keeps the port of a listener, once that is closed, from all who ask for any
// port: a connection that came in there has it. On Linux, who asks for that very port may
// listen there again.
func keepPort(ln net.Listener) (release func(), err error) {
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	for {
		far, err := ln.Accept()
		if err != nil {
			return nil, errors.Join(err, near.Close())
		}
		if far.RemoteAddr().String() == near.LocalAddr().String() {
			return func() { near.Close(); far.Close() }, nil
		}
		far.Close() // who took the port for another's
	}
}
