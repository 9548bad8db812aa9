package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// dnsLimit is how long a name may take. A resolver that answers at all does so within
// one second; the other is for a lost packet.
const dnsLimit = 2 * time.Second

// What a resolver may say besides addresses.
const (
	dnsNoName  = "NXDOMAIN"
	dnsFailed  = "SERVFAIL"
	dnsRefused = "REFUSED"
	dnsSilent  = "no answer"
	dnsEmpty   = "no address"
)

// dnsAnswer is what one resolver says of a host.
type dnsAnswer struct {
	server string // without the usual port
	word   string // "" with addresses, else one of those above
	addrs  []netip.Addr
	took   time.Duration
}

func (a dnsAnswer) String() string {
	said := a.word
	if said == "" {
		said = joinAddrs(a.addrs)
	}
	return fmt.Sprintf("resolver %s: %s in %s", a.server, said, ms(a.took))
}

// names is all that is known of a host's addresses.
type names struct {
	addrs  []netip.Addr // what this machine uses
	err    error
	pinned bool // the hosts file says so
	asked  func() []dnsAnswer
}

// resolve looks a host up as every program here does and asks each resolver besides:
// the first tells what happens, the others tell why.
func (n *network) resolve(ctx context.Context, host string) names {
	if ip, err := netip.ParseAddr(host); err == nil {
		return names{addrs: []netip.Addr{ip}, asked: func() []dnsAnswer { return nil }}
	}
	asked := make(chan []dnsAnswer, 1)
	go func() { asked <- n.askEach(ctx, host) }() // ends with dnsLimit
	out := names{asked: sync.OnceValue(func() []dnsAnswer { return <-asked })}
	out.addrs, out.err = n.lookup(ctx, host)
	if out.err != nil && !isNoName(out.err) && ctx.Err() == nil {
		if answers := out.asked(); len(answers) > 0 && answers[0].word == "" {
			out.addrs, out.err = n.lookup(ctx, host) // a packet was lost
		}
	}
	for i, ip := range out.addrs {
		out.addrs[i] = ip.Unmap()
	}
	out.pinned = len(out.addrs) > 0 && len(pinnedAddrs(n.hostsFile(), host)) > 0
	return out
}

// lookup asks the system's resolver.
func (n *network) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsLimit)
	defer cancel()
	if n.o.Lookup != nil {
		return n.o.Lookup(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// resolvers returns the DNS servers of this machine.
func (n *network) resolvers() []string {
	if n.o.Resolvers != nil || n.o.Lookup != nil || n.o.Dial != nil { // the real ones know another network
		return n.o.Resolvers
	}
	return systemResolvers()
}

// askEach asks all resolvers at once.
func (n *network) askEach(ctx context.Context, host string) []dnsAnswer {
	servers := n.resolvers()
	answers := make([]dnsAnswer, len(servers))
	var all sync.WaitGroup
	for i, server := range servers {
		all.Go(func() { answers[i] = askServer(ctx, server, host) })
	}
	all.Wait()
	return answers
}

// askServer asks one resolver for both kinds of addresses.
func askServer(ctx context.Context, server, host string) dnsAnswer {
	start := time.Now()
	kinds := []uint16{dns.TypeA, dns.TypeAAAA}
	got := make([]dnsAnswer, len(kinds))
	var both sync.WaitGroup
	for i, kind := range kinds {
		both.Go(func() { got[i] = exchange(ctx, server, host, kind) })
	}
	both.Wait()
	out := dnsAnswer{server: strings.TrimSuffix(server, ":53"), took: time.Since(start)}
	for _, a := range got {
		out.addrs = append(out.addrs, a.addrs...)
		if out.word == "" || out.word == dnsEmpty { // "no AAAA" says less than what befell the A
			out.word = a.word
		}
	}
	if len(out.addrs) > 0 {
		out.word = ""
	}
	return out
}

// exchange asks for one kind of addresses, by TCP if they do not fit into a packet.
func exchange(ctx context.Context, server, host string, kind uint16) dnsAnswer {
	question := new(dns.Msg).SetQuestion(dns.Fqdn(host), kind)
	client := &dns.Client{Timeout: dnsLimit}
	reply, _, err := client.ExchangeContext(ctx, question, server)
	if err == nil && reply.Truncated {
		client.Net = "tcp"
		reply, _, err = client.ExchangeContext(ctx, question, server)
	}
	if err != nil {
		return dnsAnswer{word: dnsSilent}
	}
	switch reply.Rcode {
	case dns.RcodeSuccess:
	case dns.RcodeNameError:
		return dnsAnswer{word: dnsNoName}
	case dns.RcodeServerFailure:
		return dnsAnswer{word: dnsFailed}
	case dns.RcodeRefused:
		return dnsAnswer{word: dnsRefused}
	default:
		return dnsAnswer{word: dns.RcodeToString[reply.Rcode]}
	}
	var addrs []netip.Addr
	for _, rr := range reply.Answer {
		var raw net.IP
		switch rr := rr.(type) {
		case *dns.A:
			raw = rr.A
		case *dns.AAAA:
			raw = rr.AAAA
		}
		if ip, ok := netip.AddrFromSlice(raw); ok {
			addrs = append(addrs, ip.Unmap())
		}
	}
	if len(addrs) == 0 {
		return dnsAnswer{word: dnsEmpty}
	}
	return dnsAnswer{addrs: addrs}
}

// pinnedAddrs returns what the hosts file says of a host.
func pinnedAddrs(file, host string) (addrs []netip.Addr) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 || !slices.ContainsFunc(fields[1:], func(name string) bool { return strings.EqualFold(name, host) }) {
			continue
		}
		if ip, err := netip.ParseAddr(fields[0]); err == nil {
			addrs = append(addrs, ip)
		}
	}
	return addrs
}

// nameFault says why a host has no address.
func (n *network) nameFault(host string, found names) *fault {
	answers := found.asked()
	f := &fault{layer: "dns", kind: dnsSilent}
	for i, a := range answers {
		if a.word != "" {
			continue
		}
		f.kind = "own"
		f.text = fmt.Sprintf("the DNS server %s knows %s, but %s is asked first and says: %s", a.server, host, answers[0].server, answers[0].word)
		f.fix = n.useResolver(a.server)
		if i == 0 {
			f.text = fmt.Sprintf("the DNS server %s knows %s, but this machine does not find it: %s", a.server, host, plainDNS(found.err))
			f.fix = flushNames(n.o.GOOS)
		}
		return f
	}
	word, servers := worstWord(answers)
	switch {
	case word == "":
		f.text = fmt.Sprintf("the address of %s can't be found: %v", host, plainDNS(found.err))
		if isNoName(found.err) {
			f.kind = dnsNoName
		}
	case word == dnsSilent:
		f.text = fmt.Sprintf("no DNS server answers for %s: %s", host, servers)
	case word == dnsNoName:
		f.kind, f.text = word, fmt.Sprintf("there is no host %s, says the DNS server %s (NXDOMAIN)", host, servers)
	case word == dnsEmpty:
		f.kind, f.text = word, fmt.Sprintf("the host %s has no address, says the DNS server %s", host, servers)
	default:
		f.kind, f.text = word, fmt.Sprintf("the DNS server %s can't tell the address of %s (%s)", servers, host, word)
	}
	return f
}

// worstWord returns what the resolvers say where none has an address: what one says
// counts more than the silence of others.
func worstWord(answers []dnsAnswer) (word, servers string) {
	var who []string
	for _, w := range []string{dnsNoName, dnsEmpty, dnsFailed, dnsRefused, dnsSilent} {
		for _, a := range answers {
			if a.word == w {
				word, who = w, append(who, a.server)
			}
		}
		if word != "" {
			return word, strings.Join(who, ", ")
		}
	}
	if len(answers) > 0 {
		return answers[0].word, answers[0].server
	}
	return "", ""
}

func isNoName(err error) bool {
	e, ok := errors.AsType[*net.DNSError](err)
	return ok && e.IsNotFound
}

// flushNames is the command that has this machine forget what it knows of names.
func flushNames(goos string) string {
	switch goos {
	case "darwin":
		return "sudo dscacheutil -flushcache; sudo killall -HUP mDNSResponder"
	case "windows":
		return "ipconfig /flushdns"
	}
	return "sudo resolvectl flush-caches"
}

// plainDNS drops what the error of a look-up repeats.
func plainDNS(err error) string {
	e, ok := errors.AsType[*net.DNSError](err)
	switch {
	case ok && e.IsTimeout, errors.Is(err, context.DeadlineExceeded):
		return "no answer within " + ms(dnsLimit)
	case ok:
		return e.Err
	case err == nil:
		return "no address"
	}
	return err.Error()
}
