package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// allLost is a machine without a network: one sentence instead of ten.
func (n *network) allLost(visits []*visit) (Finding, bool) {
	if len(visits) < 2 {
		return Finding{}, false
	}
	first := visits[0].fault
	for _, v := range visits {
		if v.fault == nil || v.fault.layer != first.layer || v.fault.kind != first.kind {
			return Finding{}, false
		}
	}
	f := Finding{Status: Fail, Fix: n.restarted("gomirror config set offline true", "offline")}
	switch {
	case first.layer == "dns" && first.kind == dnsSilent && first.fix == "":
		f.Text = "no DNS server answers, so no host can be found: this machine looks offline"
	case first.layer == "dns" && first.kind == dnsFailed:
		f.Text = "the DNS server can't look up any host (" + dnsFailed + "): its own network looks down"
	case first.layer == "tcp" && first.kind == "no route":
		f.Text = "there is no route to any host: this machine looks offline"
	case first.layer == "tcp" && first.kind == dnsSilent:
		f.Text = "no host answers: this machine looks offline, or this network lets nothing out but through an HTTP proxy (export HTTPS_PROXY=http://PROXY:PORT)"
	default:
		return Finding{}, false
	}
	if first.fix != "" {
		f.Fix = first.fix
	}
	if slices.ContainsFunc(visits, n.worksInShell) {
		f.Text, f.Fix = f.Text+thisShell, n.o.restart()
	}
	for _, v := range visits {
		f.Detail = append(f.Detail, v.fault.text)
	}
	return f, true
}

// resolverFindings tells of resolvers that keep all look-ups waiting while others
// answer.
func (n *network) resolverFindings(visits []*visit) (out []Finding) {
	type score struct{ good, silent int }
	scores := make(map[string]*score)
	var order []string
	found := false
	for _, v := range visits {
		for _, a := range v.names.asked() {
			s := scores[a.server]
			if s == nil {
				s = new(score)
				scores[a.server] = s
				order = append(order, a.server)
			}
			switch a.word {
			case dnsSilent, dnsFailed, dnsRefused:
				s.silent++
			default:
				s.good++
				found = true
			}
		}
	}
	for i, server := range order {
		// The ones behind a good one are there for the day when it is down.
		if scores[server].good > 0 || !found {
			break
		}
		f := Finding{Status: Warn, Text: fmt.Sprintf("the DNS server %s answers for no host, and others have to", server)}
		if n.o.GOOS == "linux" || n.o.GOOS == "" {
			f.Fix = fmt.Sprintf(`sudo sed -i.bak '/^nameserver %s$/d' /etc/resolv.conf`, strings.ReplaceAll(server, ".", `\.`))
		} else {
			f.Fix = n.useResolver(order[(i+1)%len(order)])
		}
		out = append(out, f)
	}
	return out
}

// familyFindings tells of a family of addresses that is swallowed everywhere: programs
// without a race between the two wait for it each time.
func (n *network) familyFindings(ctx context.Context, visits []*visit) []Finding {
	swallowed, works4 := 0, false
	for _, v := range visits {
		v.mu.Lock()
		families := v.families
		v.mu.Unlock()
		if families == nil || v.proxy != nil {
			continue
		}
		for _, a := range families.rest(ctx) {
			switch {
			case a.addr.Is6() && a.err == nil:
				return nil
			case a.addr.Is6() && dialWord(a.err) == dnsSilent:
				swallowed++
			case a.addr.Is4() && a.err == nil:
				works4 = true
			}
		}
	}
	if swallowed == 0 || !works4 {
		return nil
	}
	f := Finding{Status: Warn, Text: "connections by IPv6 are swallowed on the way, those by IPv4 get through: programs lose time on each"}
	switch n.o.GOOS {
	case "darwin":
		f.Fix = "networksetup -setv6off Wi-Fi"
	case "windows":
		f.Fix = "powershell Disable-NetAdapterBinding -Name '*' -ComponentID ms_tcpip6"
	default:
		f.Fix = "sudo sysctl -w net.ipv6.conf.all.disable_ipv6=1"
	}
	return []Finding{f}
}
