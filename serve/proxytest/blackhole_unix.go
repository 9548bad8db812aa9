//go:build unix

package proxytest

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// BlackHole opens an address that never answers a connection: its queue is full and
// nobody takes from it.
func BlackHole() (addr string, closeHole func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	open := []interface{ Close() error }{ln}
	closeHole = func() {
		for _, c := range open {
			c.Close()
		}
	}
	// A second listen makes the queue as short as the system lets it be.
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err == nil {
		var lerr error
		err = errors.Join(raw.Control(func(fd uintptr) { lerr = syscall.Listen(int(fd), 0) }), lerr)
	}
	for range 1024 {
		if err != nil {
			break
		}
		c, dialErr := net.DialTimeout("tcp", ln.Addr().String(), 300*time.Millisecond)
		if dialErr != nil {
			return ln.Addr().String(), closeHole, nil
		}
		open = append(open, c)
	}
	closeHole()
	return "", nil, errors.Join(errors.New("the queue of a listener never fills up"), err)
}
