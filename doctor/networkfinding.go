package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomirror/gomirror/serve/upstream"
)

// findings says what the visits have shown: what lies in all ways first, then one line
// a host, then which upstream is quickest.
func (n *network) findings(ctx context.Context, visits []*visit) []Finding {
	if f, ok := n.allLost(visits); ok {
		return []Finding{f}
	}
	out := slices.Concat(n.resolverFindings(visits), n.familyFindings(ctx, visits))
	said := make(map[string]int) // by the text of a fault: the index of its finding
	for _, v := range visits {
		f := n.finding(ctx, v, visits)
		if i, ok := said[f.Text]; ok && v.fault != nil { // one proxy is in all ways
			out[i].Detail = append(out[i].Detail, "also on the way to "+v.name())
			if v.role != asMirror {
				continue
			}
		}
		said[f.Text] = len(out)
		out = append(out, f)
	}
	return append(out, n.orderFinding(visits)...)
}

// finding is one line for one host.
func (n *network) finding(ctx context.Context, v *visit, visits []*visit) Finding {
	f := Finding{Status: OK, Detail: n.detail(ctx, v)}
	v.mu.Lock()
	f.Legs = slices.Clone(v.legs)
	v.mu.Unlock()
	if v.role == asMirror {
		f.Upstream = v.name()
	}
	if v.fault == nil {
		f.Text = fmt.Sprintf("%s answers in %s", v.name(), ms(v.took()))
		if v.proxy != nil {
			f.Text += " through the HTTP proxy " + v.proxy.Host
		}
		n.hear(v, &f)
		return f
	}
	f.Text, f.Fix = v.fault.text, v.fault.fix
	if n.worksInShell(v) {
		f.Text, f.Fix = f.Text+thisShell, n.o.restart()
	}
	f.Status = n.weigh(v, visits)
	switch f.Status {
	case OK:
		f.Text += "; it is not needed: " + n.relay(visits) + " has its checksums"
	case Skipped:
		f.Text += "; it is not needed: " + v.why
	}
	if f.Status == OK || f.Status == Skipped {
		f.Fix = ""
	} else if f.Fix == "" {
		f.Fix = n.way(v, visits)
	}
	return f
}

// hear adds what the sidecar has to say of an upstream that answers here.
func (n *network) hear(v *visit, f *Finding) {
	for _, u := range n.o.Daemon().Status.Upstreams {
		if v.role != asMirror || u.Name != v.name() || u.LastError == "" {
			continue
		}
		f.Detail = append(f.Detail, "the last error of gomirror's own requests: "+oneLine(u.LastError))
		if u.State == "down" {
			f.Status, f.Fix = Warn, n.o.restart()
			f.Text += fmt.Sprintf(", but gomirror itself has had no answer from there since %s: %s", u.Since.Local().Format("15:04"), oneLine(u.LastError))
		}
	}
}

// weigh says how bad a fault is.
func (n *network) weigh(v *visit, visits []*visit) Status {
	switch {
	case v.role == asDatabase && n.relay(visits) != "":
		return OK
	case !v.needed:
		return Skipped
	case v.fault.soft:
		return Warn
	case v.role == asMirror && !n.blocks(v, visits):
		return Warn
	}
	return Fail
}

// relay names a mirror that passes on the checksum database, "" if none does.
func (n *network) relay(visits []*visit) string {
	for _, v := range visits {
		if v.relays {
			return v.name()
		}
	}
	return ""
}

// blocks reports whether a pull ends at this upstream: it is asked before one that
// works, and what befalls it does not pass on to that.
func (n *network) blocks(v *visit, visits []*visit) bool {
	entries, err := upstream.ParseList(n.upstreams())
	if err != nil {
		return true
	}
	works := func(e upstream.Entry) bool {
		return slices.ContainsFunc(visits, func(o *visit) bool { return o.role == asMirror && o.entry == e && o.fault == nil })
	}
	passes := false
	if code, err := strconv.Atoi(v.fault.kind); err == nil {
		passes = upstream.Passes(upstream.Entry{}, n.o.builtinList(), &upstream.StatusError{Code: code})
	}
	at := slices.Index(entries, v.entry)
	for i, e := range entries {
		if i < at && works(e) {
			return false
		}
		if i > at && works(e) {
			return false
		}
		if i >= at && !e.FallBackOnError && !passes {
			return true
		}
	}
	return true
}

// way is what to do about a host that itself can't be mended from here.
func (n *network) way(v *visit, visits []*visit) string {
	if (v.role == asMirror || v.role == asTarget) && v.fault.layer != "proxy" {
		if better := n.suggest(visits); better != nil {
			return n.setUpstream(joinEntries(better, func(e upstream.Entry) string { return e.URL }))
		}
		if slices.ContainsFunc(visits, func(o *visit) bool { return o.url.Host == "github.com" && o.fault == nil }) {
			return n.setUpstream("direct")
		}
	}
	switch {
	case v.fault.layer == "proxy":
		return n.restarted("export " + n.proxyVariable(v.url) + "=http://PROXY:PORT")
	case v.role == asDatabase && strings.TrimSpace(n.o.Go().Own.GOSUMDB) == v.url.Host && v.url.Host == goDatabase:
		fix := n.restarted(n.o.assign("GOSUMDB", goDatabaseAlias))
		if namesUs(n.o.Go().Now.GOPROXY) {
			fix += " && " + setUp // go asks an alias past us until then
		}
		return fix
	case v.fault.kind == "name" || v.fault.kind == "page":
		return browse(n.o.GOOS, "http://"+v.url.Host+"/")
	case v.fault.layer == "http":
		if v.role == asMirror || v.role == asTarget {
			return n.setUpstream("LIST")
		}
		return lookAgain
	case loopbackHost(v.url.Hostname()): // which nobody reaches by a proxy
		return n.setUpstream(n.without(v))
	case v.proxy == nil:
		return n.restarted("export HTTPS_PROXY=http://PROXY:PORT")
	case v.role == asMirror:
		return n.setUpstream(n.without(v))
	}
	return lookAgain // the proxy is as good as any other
}

// without is the list of upstreams less one of them; git hosts where that was all.
func (n *network) without(v *visit) string {
	entries, err := upstream.ParseList(n.upstreams())
	if err != nil {
		return "direct"
	}
	entries = slices.DeleteFunc(entries, func(e upstream.Entry) bool { return e.URL == v.entry.URL })
	if len(entries) == 0 || entries[0].URL == "off" {
		return "direct"
	}
	return joinEntries(entries, func(e upstream.Entry) string { return e.URL })
}

// The go command's database and the second address that it knows for it
// (cmd/go/internal/modfetch/key.go).
const (
	goDatabase      = "sum.golang.org"
	goDatabaseAlias = "sum.golang.google.cn"
)

// detail is what was seen on the way, for who wants to know more.
func (n *network) detail(ctx context.Context, v *visit) (lines []string) {
	for _, a := range v.names.asked() {
		lines = append(lines, a.String())
	}
	if v.names.pinned {
		lines = append(lines, n.hostsFile()+" has its address")
	}
	v.mu.Lock()
	families, cert := v.families, v.cert
	v.mu.Unlock()
	if families != nil {
		for _, a := range families.rest(ctx) {
			lines = append(lines, a.String())
		}
	}
	if v.proxy != nil {
		lines = append(lines, fmt.Sprintf("HTTP proxy %s %s", bareHost(v.proxy), n.proxySource(v.url)))
	}
	if len(cert.chain) > 0 {
		c := cert.chain[0]
		line := fmt.Sprintf("%s, certificate by %s until %s", tls.VersionName(cert.version), issuerName(c), c.NotAfter.UTC().Format(time.DateOnly))
		if cert.root != "" {
			line += ", trusted through " + cert.root
		}
		lines = append(lines, line)
	}
	if v.status != 0 {
		line := fmt.Sprintf("%d %s, first byte after %s", v.status, http.StatusText(v.status), ms(v.firstByte))
		if v.size > 0 {
			line += fmt.Sprintf(", %d bytes in %s", v.size, ms(v.firstByte+v.body))
		}
		lines = append(lines, line)
	}
	return lines
}

// orderFinding names the quickest upstream, where there are several.
func (n *network) orderFinding(visits []*visit) []Finding {
	var quickest *visit
	count := 0
	for _, v := range visits {
		if v.role != asMirror {
			continue
		}
		count++
		if v.fault == nil && (quickest == nil || v.took() < quickest.took()) {
			quickest = v
		}
	}
	if count < 2 || quickest == nil {
		return nil
	}
	text := fmt.Sprintf("of %d upstreams %s is the quickest, see gomirror doctor --suggest", count, quickest.name())
	return []Finding{{Status: OK, Text: text}}
}
