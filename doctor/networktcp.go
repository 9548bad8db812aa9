package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// tcpLimit is how long a connection may take: a lost SYN is sent again after one
// second.
const tcpLimit = 2500 * time.Millisecond

// attempt is one connection to one address.
type attempt struct {
	addr netip.Addr
	conn net.Conn
	err  error
	took time.Duration
}

func (a attempt) String() string {
	family := "IPv4"
	if a.addr.Is6() {
		family = "IPv6"
	}
	said := "connects"
	if a.err != nil {
		said = dialWord(a.err)
	}
	return fmt.Sprintf("%s %s: %s in %s", family, a.addr, said, ms(a.took))
}

// families are the attempts by IPv4 and by IPv6, one address each and one to spare.
type families struct {
	results chan attempt
	want    int

	mu  sync.Mutex
	got []attempt // guarded by mu; what first and rest have read
}

// connect dials by both families at once.
func (n *network) connect(ctx context.Context, addrs []netip.Addr, port string) *families {
	const spare = 2 // of each family: a host with one dead address of many is not dead
	var v4, v6 []netip.Addr
	for _, ip := range addrs {
		if ip.Is4() && len(v4) < spare {
			v4 = append(v4, ip)
		} else if ip.Is6() && len(v6) < spare {
			v6 = append(v6, ip)
		}
	}
	all := append(v4, v6...)
	f := &families{results: make(chan attempt, len(all)), want: len(all)}
	dial := n.o.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	for _, ip := range all {
		go func() { // ends with tcpLimit
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tcpLimit)
			defer cancel()
			start := time.Now()
			conn, err := dial(ctx, "tcp", net.JoinHostPort(ip.String(), port))
			f.results <- attempt{ip, conn, err, time.Since(start)}
		}()
	}
	return f
}

// first returns the connection that comes first.
func (f *families) first(ctx context.Context) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var last error
	for len(f.got) < f.want {
		select {
		case a := <-f.results:
			f.got = append(f.got, a)
			if a.err == nil {
				return a.conn, nil
			}
			// A refusal says more than a family that there is no way for.
			if last == nil || errors.Is(last, errNoNetwork) {
				last = a.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, cmp.Or(last, error(errNoNetwork))
}

// rest waits for the other attempts and closes what is open of them.
func (f *families) rest(ctx context.Context) []attempt {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.got) < f.want {
		select {
		case a := <-f.results:
			if a.conn != nil {
				a.conn.Close()
			}
			f.got = append(f.got, a)
		case <-ctx.Done():
			return f.got
		}
	}
	return f.got
}

// dialWord says what befell a connection.
func dialWord(err error) string {
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case ok && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	case errors.Is(err, errRefused):
		return "refused"
	case errors.Is(err, errNoNetwork), errors.Is(err, errNoHost):
		return "no route"
	case errors.Is(err, errReset):
		return "reset"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err.Error()
	}
	return err.Error()
}

// dial looks the host up and connects: to the HTTP proxy, where there is one.
func (n *network) dial(v *visit) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if n.o.Dial != nil && n.o.Lookup == nil { // it knows hosts by their names
			return n.o.Dial(ctx, "tcp", addr)
		}
		v.enter("dns")
		found := n.resolve(ctx, host)
		v.mu.Lock()
		v.names = found
		v.mu.Unlock()
		if _, err := netip.ParseAddr(host); err != nil { // of an address there is no look-up to draw
			v.leave("dns", found.err)
		}
		if len(found.addrs) == 0 {
			if f := n.nameFault(host, found); v.proxy == nil {
				return nil, f
			} else {
				return nil, n.proxyFault(ctx, v, f.kind, "has no address: "+f.text)
			}
		}
		v.enter("tcp")
		families := n.connect(ctx, found.addrs, port)
		v.mu.Lock()
		v.families = families
		v.mu.Unlock()
		conn, err := families.first(ctx)
		v.leave("tcp", err)
		if err != nil {
			return nil, n.connectFault(ctx, v, found, err)
		}
		if v.proxy != nil {
			v.enter("proxy")
		}
		return conn, nil
	}
}
