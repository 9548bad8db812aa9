//go:build !linux

package serve

// newPeerCheck returns nil: only Linux tells the owner of a socket at the price of
// one look-up. The capability has to do.
func newPeerCheck() peerCheck { return nil }
