//go:build !linux && !darwin

package daemon

import "net"

// peerUID returns -1, not known: the access list of the folder has to do.
func peerUID(*net.UnixConn) (int, error) { return -1, nil }
