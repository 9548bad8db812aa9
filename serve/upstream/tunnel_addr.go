package upstream

import (
	"fmt"
	"net/netip"
	"strings"
)

// refusedError is a host that the tunnel does not dial.
type refusedError struct{ host, addr, why string }

func (e *refusedError) Error() string {
	if e.addr == e.host {
		return fmt.Sprintf("refuse to connect to %s: %s", e.host, e.why)
	}
	return fmt.Sprintf("refuse to connect to %s at %s: %s", e.host, e.addr, e.why)
}

// Hint tells the one thing to do.
func (e *refusedError) Hint() string {
	return "if " + e.host + " is a host of yours: gomirror config set network.hosts " + e.host
}

// innerPrefixes are ranges that no public host has and that net/netip has no
// predicate for. 198.18.0.0/15 is not among them, though RFC 6890 lists it: proxies
// of the "fake IP" sort resolve every public name into it.
var innerPrefixes = [...]struct{ prefix, why string }{
	{"0.0.0.0/8", "an address of this host"},
	{"100.64.0.0/10", "a carrier's inner address"}, // RFC 6598; some clouds' metadata, and Tailscale
	{"192.0.0.0/24", "a reserved address"},         // RFC 6890
	{"240.0.0.0/4", "a reserved address"},          // with the broadcast address
	{"fec0::/10", "a site's inner address"},        // RFC 3879, deprecated but routed by some
}

// carriers are IPv6 ranges whose addresses carry an IPv4 address that a router
// connects to, and the byte where it starts.
var carriers = [...]struct {
	prefix string
	at     int
}{
	{"::/96", 12},        // IPv4-compatible, RFC 4291
	{"64:ff9b::/96", 12}, // NAT64, RFC 6052
	{"2002::/16", 2},     // 6to4, RFC 3056
}

// inner says why ip is not to be dialled on the word of a stranger: an import page
// or a redirect could otherwise point our children at the user's own network, its
// router or a cloud's metadata service (169.254.169.254, fd00:ec2::254). It returns
// "" for a public address.
func inner(ip netip.Addr) string {
	if ip.Zone() != "" {
		return "a link's inner address"
	}
	ip = ip.Unmap() // ::ffff:127.0.0.1 is 127.0.0.1
	switch {
	case ip.IsUnspecified():
		return "an address of this host"
	case ip.IsLoopback():
		return "an address of this host"
	case ip.IsLinkLocalUnicast():
		return "a link's inner address"
	case ip.IsPrivate():
		return "a private network's address"
	case ip.IsMulticast():
		return "a multicast address"
	}
	for _, p := range innerPrefixes {
		if netip.MustParsePrefix(p.prefix).Contains(ip) {
			return p.why
		}
	}
	for _, c := range carriers {
		if ip.Is6() && netip.MustParsePrefix(c.prefix).Contains(ip) {
			b := ip.As16()
			return inner(netip.AddrFrom4([4]byte(b[c.at : c.at+4])))
		}
	}
	if netip.MustParsePrefix("64:ff9b:1::/48").Contains(ip) { // RFC 8215, local NAT64: the layout is the network's own
		return "a private network's address"
	}
	return ""
}

// refuseLiteral refuses hosts that are inner without a look-up.
func refuseLiteral(host string) error {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return &refusedError{host, host, "an address of this host"}
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		if why := inner(ip); why != "" {
			return &refusedError{host, host, why}
		}
		return nil
	}
	// 127.1, 2130706433 and 0x7f.1 are addresses to some resolvers. No top-level
	// domain starts with a digit.
	last := name[strings.LastIndexByte(name, '.')+1:]
	if last == "" || last[0] >= '0' && last[0] <= '9' {
		return &refusedError{host, host, "neither a name nor a plain address"}
	}
	return nil
}
