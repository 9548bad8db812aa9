package doctor

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

// visitsLimit is below checkLimit, so that what was found by then is told.
const visitsLimit = checkLimit - 500*time.Millisecond

// networkChecks look at the way to each host.
func networkChecks(o Options) []Check {
	n := newNetwork(o)
	return []Check{{ID: "N01", Section: "network", Run: n.check}, gitCheck(o)}
}

// clockCheck is the one check of storage that needs the network.
func clockCheck(o Options) Check {
	return Check{ID: "S04", Section: "storage", Run: newNetwork(o).checkClock}
}

// network asks the hosts that gomirror needs.
type network struct {
	o     Options
	by    func() Network // what it goes by; asked late, as the sidecar is
	roots func() (*x509.CertPool, error)

	others []*visit // by the way of this shell, if that is another; set before they are read
}

func newNetwork(o Options) *network { return newNetworkBy(o, sync.OnceValue(o.network)) }

func newNetworkBy(o Options, by func() Network) *network {
	n := &network{o: o, by: by}
	n.roots = sync.OnceValues(n.readRoots)
	if n.o.Now == nil {
		n.o.Now = time.Now
	}
	return n
}

func (n *network) proxy(u *url.URL) (*url.URL, error) { return n.by().proxyOf(u) }

// check is N01.
func (n *network) check(ctx context.Context) []Finding {
	switch {
	case n.o.Offline:
		return []Finding{{Status: Skipped, Text: "no host is asked: the setting offline is true"}}
	case n.by().CAFile != "":
		if _, err := n.roots(); err != nil {
			return []Finding{{Status: Fail, Text: fmt.Sprintf("network.ca_file can't be used: %v", err),
				Fix: n.restarted("gomirror config set network.ca_file ''", "network.ca_file")}}
		}
	}
	targets, err := n.targets()
	if err != nil {
		return []Finding{{Status: Fail, Text: fmt.Sprintf("the list of upstreams can't be read: %v", err),
			Fix: "gomirror config set upstream LIST"}}
	}
	ctx, cancel := context.WithTimeout(ctx, visitsLimit)
	defer cancel()
	others := n.visitByShell(ctx, targets)
	visits := n.visitAll(ctx, targets)
	n.others = <-others
	return n.findings(ctx, visits)
}

// visitAll visits all targets at once. Hosts that they redirect to come behind them.
func (n *network) visitAll(ctx context.Context, targets []target) []*visit {
	found := make([][]*visit, len(targets))
	var all sync.WaitGroup
	for i, t := range targets {
		all.Go(func() { found[i] = n.tour(ctx, t) })
	}
	all.Wait()
	var visits []*visit
	seen := make(map[string]bool)
	for _, tour := range found {
		for _, v := range tour {
			// Two upstreams may send to one and the same host.
			if v.role == asTarget && seen[v.url.Host] {
				continue
			}
			seen[v.url.Host] = true
			visits = append(visits, v)
		}
	}
	return visits
}

// ms is a time as people read it: "12 ms", "3.4 s".
func ms(d time.Duration) string {
	switch {
	case d < time.Millisecond && d > 0:
		return "1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
}

func joinAddrs(addrs []netip.Addr) string {
	var all []string
	for _, ip := range addrs {
		all = append(all, ip.String())
	}
	return strings.Join(all, ", ")
}
