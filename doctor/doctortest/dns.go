package doctortest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Answer is how a resolver answers for a host.
type Answer int

// The answers. Truth is the zero one: what the host has, or NXDOMAIN for a stranger.
const (
	Truth    Answer = iota
	NXDomain        // no such name
	ServFail        // it could not find out
	Refused         // it does not want to
	Silent          // nothing comes
	Empty           // the name exists and has no address
	Lie             // the addresses of [Resolver.Lie]
)

// Resolver is a DNS server on the loopback interface, UDP and TCP.
type Resolver struct {
	Addr string // host:port

	lab *Lab

	mu     sync.Mutex
	all    Answer                  // guarded by mu; what is not in answer
	answer map[string]Answer       // guarded by mu; by host
	lies   map[string][]netip.Addr // guarded by mu
}

// Resolver adds a resolver behind those there are. The first is there already.
func (l *Lab) Resolver() *Resolver {
	l.tb.Helper()
	r := &Resolver{lab: l, answer: make(map[string]Answer), lies: make(map[string][]netip.Addr)}
	tcp, udp := listenBoth(l.tb)
	r.Addr = tcp.Addr().String()
	for _, server := range []*dns.Server{{Listener: tcp, Handler: r}, {PacketConn: udp, Handler: r}} {
		up := make(chan error, 1)
		server.NotifyStartedFunc = func() { up <- nil }
		go func() { up <- server.ActivateAndServe() }() // ends with Shutdown
		if err := <-up; err != nil {
			l.tb.Fatalf("start a resolver: %v", err)
		}
		l.tb.Cleanup(func() { _ = server.Shutdown() })
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resolvers = append(l.resolvers, r)
	return r
}

// listenBoth finds a port that is free for TCP and for UDP.
func listenBoth(tb testing.TB) (net.Listener, net.PacketConn) {
	tb.Helper()
	var last error
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return tcp, udp
		}
		tcp.Close()
		last = err
	}
	tb.Fatalf("find a port for TCP and UDP: %v", last)
	return nil, nil
}

// First returns the resolver that the lab began with.
func (l *Lab) First() *Resolver {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.resolvers[0]
}

// Resolvers returns the addresses of all resolvers, as resolv.conf lists them.
func (l *Lab) Resolvers() (addrs []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.resolvers {
		addrs = append(addrs, r.Addr)
	}
	return addrs
}

// Say sets how the resolver answers for a host, or for all hosts if it is "".
func (r *Resolver) Say(host string, a Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if host == "" {
		r.all = a
		return
	}
	r.answer[host] = a
}

// Lie makes the resolver answer with these addresses.
func (r *Resolver) Lie(host string, addrs ...string) {
	r.Say(host, Lie)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lies[host] = nil
	for _, a := range addrs {
		r.lies[host] = append(r.lies[host], netip.MustParseAddr(a))
	}
}

// says returns how the resolver answers for a host and the addresses it tells.
func (r *Resolver) says(host string) (Answer, []netip.Addr) {
	r.mu.Lock()
	a, ok := r.answer[host]
	if !ok {
		a = r.all
	}
	lies := r.lies[host]
	r.mu.Unlock()
	if a == Lie {
		return Lie, lies
	}
	if a != Truth {
		return a, nil
	}
	r.lab.mu.Lock()
	h := r.lab.hosts[host]
	r.lab.mu.Unlock()
	if h == nil {
		return NXDomain, nil
	}
	return Truth, h.Addrs()
}

// ServeDNS implements [dns.Handler].
func (r *Resolver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	if len(q.Question) != 1 {
		return
	}
	question := q.Question[0]
	answer, addrs := r.says(strings.ToLower(strings.TrimSuffix(question.Name, ".")))
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	switch answer {
	case Silent:
		return
	case NXDomain:
		m.Rcode = dns.RcodeNameError
	case ServFail:
		m.Rcode = dns.RcodeServerFailure
	case Refused:
		m.Rcode = dns.RcodeRefused
	}
	header := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET, Ttl: 1}
	for _, ip := range addrs {
		switch {
		case question.Qtype == dns.TypeA && ip.Is4():
			m.Answer = append(m.Answer, &dns.A{Hdr: header, A: ip.AsSlice()})
		case question.Qtype == dns.TypeAAAA && ip.Is6():
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: header, AAAA: ip.AsSlice()})
		}
	}
	_ = w.WriteMsg(m) // who asked may have gone
}

// ask is the side of the client: what the system's resolver makes of this server.
func (r *Resolver) ask(ctx context.Context, host string, limit time.Duration) (addrs []netip.Addr, err error) {
	client := &dns.Client{Timeout: limit}
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		reply, _, err := client.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(host), kind), r.Addr)
		switch {
		case err != nil:
			return nil, &net.DNSError{Err: "i/o timeout", Name: host, Server: r.Addr, IsTimeout: true}
		case reply.Rcode == dns.RcodeNameError:
			return nil, &net.DNSError{Err: "no such host", Name: host, Server: r.Addr, IsNotFound: true}
		case reply.Rcode != dns.RcodeSuccess:
			return nil, &net.DNSError{Err: "server misbehaving", Name: host, Server: r.Addr, IsTemporary: true}
		}
		for _, rr := range reply.Answer {
			switch rr := rr.(type) {
			case *dns.A:
				ip, _ := netip.AddrFromSlice(rr.A.To4())
				addrs = append(addrs, ip)
			case *dns.AAAA:
				ip, _ := netip.AddrFromSlice(rr.AAAA)
				addrs = append(addrs, ip)
			}
		}
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, Server: r.Addr, IsNotFound: true}
	}
	return addrs, nil
}
