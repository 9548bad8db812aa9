package serve

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Of <linux/inet_diag.h>, which x/sys/unix does not have.
const (
	diagRequestBytes = 56 // struct inet_diag_req_v2
	diagAnswerBytes  = 72 // struct inet_diag_msg
	diagUIDOffset    = 64 // idiag_uid in it
	tcpListen        = 10 // TCP_LISTEN of <net/tcp_states.h>
)

// newPeerCheck returns a check that asks the kernel for the one socket at the other
// end of a connection, by sock_diag(7). It costs four system calls, where a scan of
// /proc/net/tcp would cost more with each of the go command's short connections.
func newPeerCheck() peerCheck {
	own := os.Getuid()
	return func(client, server netip.AddrPort) peer {
		uid, err := socketOwner(client, server)
		if err != nil {
			return peer{}
		}
		return peer{uid: uid, known: true, ours: uid == own || uid == 0}
	}
}

// socketOwner returns the uid of the local TCP socket bound to local and connected
// to remote.
func socketOwner(local, remote netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	// The kernel answers within the send; the limit is for one that never does.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return 0, err
	}
	if err := unix.Sendto(fd, diagRequest(local, remote), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return 0, err
	}
	return diagUID(buf[:n], local)
}

// diagRequest asks for the socket with exactly these ends.
func diagRequest(local, remote netip.AddrPort) []byte {
	native := binary.NativeEndian
	b := make([]byte, 0, unix.SizeofNlMsghdr+diagRequestBytes)
	b = native.AppendUint32(b, unix.SizeofNlMsghdr+diagRequestBytes)
	b = native.AppendUint16(b, unix.SOCK_DIAG_BY_FAMILY)
	b = native.AppendUint16(b, unix.NLM_F_REQUEST)
	b = native.AppendUint32(b, 1) // sequence
	b = native.AppendUint32(b, 0) // port id: the kernel fills it in

	family := byte(unix.AF_INET)
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}
	b = append(b, family, unix.IPPROTO_TCP, 0, 0)
	b = native.AppendUint32(b, 0xffffffff) // in any state
	b = binary.BigEndian.AppendUint16(b, local.Port())
	b = binary.BigEndian.AppendUint16(b, remote.Port())
	for _, a := range []netip.Addr{local.Addr(), remote.Addr()} {
		var field [16]byte // an IPv4 address takes the first four
		copy(field[:], a.AsSlice())
		b = append(b, field[:]...)
	}
	b = native.AppendUint32(b, 0)             // on any interface
	b = native.AppendUint32(b, 0xffffffff)    // no cookie
	return native.AppendUint32(b, 0xffffffff) // no cookie
}

var errNoSocket = errors.New("no such local socket")

// diagUID reads the owner out of the kernel's answer.
func diagUID(b []byte, local netip.AddrPort) (int, error) {
	native := binary.NativeEndian
	if len(b) < unix.SizeofNlMsghdr+diagAnswerBytes || native.Uint16(b[4:]) != unix.SOCK_DIAG_BY_FAMILY {
		return 0, errNoSocket
	}
	msg := b[unix.SizeofNlMsghdr:]
	// With no connection to be found the kernel offers a listener on the same port,
	// whoever's that is.
	if msg[1] == tcpListen || binary.BigEndian.Uint16(msg[4:]) != local.Port() {
		return 0, errNoSocket
	}
	return int(native.Uint32(msg[diagUIDOffset:])), nil
}
