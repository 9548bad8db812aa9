package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Ports of our own choice lie below the ranges that systems hand out by themselves
// (Linux from 32768, Windows and macOS from 49152), so that no outgoing connection
// ever sits on one.
const (
	firstPort = 20000
	endPort   = 32000
	portTries = 50 // Windows reserves whole ranges of them
)

// newPort is what --listen says to get another random port.
const newPort = "127.0.0.1:0"

// Address listens where flag says, else where the last start did, else on a random
// port of 127.0.0.1, and remembers it: the address is in the environment of shells,
// so it must be the same after each start. The caller holds the lock.
func Address(stateDir, flag string) (net.Listener, error) {
	want := flag
	if want == "" {
		saved, err := savedAddress(stateDir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		want = saved
	}
	if want == "" {
		want = newPort
	}
	addr, err := loopback(want)
	if err != nil {
		return nil, &hinted{fmt.Errorf("listen on %s: %w", want, err), "gomirror serve --listen " + newPort}
	}
	l, err := listen(addr)
	for end := time.Now().Add(lockPatience); inUse(err) && time.Now().Before(end); l, err = listen(addr) {
		time.Sleep(lockPatience / 10) // a sidecar that dies lets go of its lock and its port one after the other
	}
	if inUse(err) {
		if saved, _ := savedAddress(stateDir); saved == addr.String() {
			// We hold the lock, so it is somebody else, to whom shells may have
			// shown the capability.
			err = errors.Join(save(stateDir, foreignFile, saved), err)
		}
		return nil, &hinted{fmt.Errorf("listen on port %d: another program has it: %w", addr.Port(), err), "gomirror serve --listen " + newPort}
	}
	if err != nil {
		return nil, &hinted{fmt.Errorf("listen on port %d: %w", addr.Port(), err), "gomirror serve --listen " + newPort}
	}
	if err := save(stateDir, addressFile, l.Addr().String()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func inUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaInUse)
}

// listen opens addr; its port 0 means a random one of ours.
func listen(addr netip.AddrPort) (net.Listener, error) {
	if addr.Port() != 0 {
		return net.Listen("tcp", addr.String())
	}
	var err error
	for range portTries {
		port := firstPort + rand.IntN(endPort-firstPort)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort(addr.Addr().String(), strconv.Itoa(port))); err == nil {
			return l, nil
		}
	}
	return nil, err
}

// loopback parses the address of a listener. Others than these two would serve the
// network, without TLS, or have no place in the guard's list of hosts.
func loopback(s string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddrPort(s)
	if err != nil {
		return addr, errors.New("want a literal address and port, such as 127.0.0.1:24000")
	}
	if addr.Addr() != netip.AddrFrom4([4]byte{127, 0, 0, 1}) && addr.Addr() != netip.IPv6Loopback() {
		return addr, errors.New("not 127.0.0.1 or [::1]: gomirror serves this machine only")
	}
	return addr, nil
}

// savedAddress returns the address of the last start.
func savedAddress(stateDir string) (string, error) {
	line, err := load(stateDir, addressFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err == nil {
		var addr netip.AddrPort
		if addr, err = loopback(line); err == nil && addr.Port() == 0 {
			err = errors.New("port 0")
		}
	}
	if err != nil {
		return "", &hinted{fmt.Errorf("read %s: %w", filepath.Join(stateDir, addressFile), err), "gomirror serve --listen " + newPort}
	}
	return line, nil
}

// seenForeign reports whether somebody else was on our port.
func seenForeign(stateDir string) bool {
	_, err := os.Lstat(filepath.Join(stateDir, foreignFile))
	return err == nil
}
