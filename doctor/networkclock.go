package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// clockWarn is where logs and tokens begin to go wrong, clockFail where GitHub App
	// tokens and young certificates do.
	clockWarn = time.Minute
	clockFail = 10 * time.Minute
)

// checkClock is S04. Two hosts are asked, for one may be out of reach or itself wrong.
func (n *network) checkClock(ctx context.Context) []Finding {
	if n.o.Offline {
		return []Finding{{Status: Skipped, Text: "the clock is compared with no other: the setting offline is true"}}
	}
	ctx, cancel := context.WithTimeout(ctx, visitsLimit)
	defer cancel()
	hosts := []*url.URL{{Scheme: "https", Host: "api.github.com", Path: "/"}}
	if targets, err := n.targets(); err == nil {
		for _, t := range targets {
			if t.role == asMirror && len(hosts) == 1 {
				hosts = append(hosts, t.url)
			}
		}
	}
	type reading struct {
		skew time.Duration
		host string
		ok   bool
	}
	readings := make([]reading, len(hosts))
	var all sync.WaitGroup
	for i, u := range hosts {
		all.Go(func() {
			date, ok := n.dateOf(ctx, u)
			readings[i] = reading{n.o.Now().Sub(date).Round(time.Second), u.Host, ok}
		})
	}
	all.Wait()
	var best *reading
	for i, r := range readings {
		if r.ok && (best == nil || r.skew.Abs() < best.skew.Abs()) {
			best = &readings[i]
		}
	}
	if best == nil {
		return []Finding{{Status: Skipped, Text: "the clock can't be compared: no host tells the time"}}
	}
	f := Finding{Status: OK, Text: fmt.Sprintf("the clock agrees with that of %s", best.host)}
	if best.skew.Abs() <= clockWarn {
		return []Finding{f}
	}
	f.Status, f.Fix = Warn, clockFix(n.o.GOOS)
	if best.skew.Abs() > clockFail {
		f.Status = Fail
	}
	side := "ahead of"
	if best.skew < 0 {
		side = "behind"
	}
	f.Text = fmt.Sprintf("the clock of this machine is %s %s that of %s: certificates and tokens look expired or not yet valid",
		long(best.skew.Abs()), side, best.host)
	return []Finding{f}
}

// long is a time as people say it.
func long(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.0f days", d.Hours()/24)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%.0f hours", d.Hours())
	case d >= 2*time.Minute:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	}
	return fmt.Sprintf("%d seconds", int(d.Seconds()))
}

// dateOf returns what time a host says it is. Its certificate is not looked at, since
// a wrong clock would refuse it: so whoever it is learns no more than the host's name,
// and nothing but that one header is taken from the answer.
func (n *network) dateOf(ctx context.Context, u *url.URL) (time.Time, bool) {
	at := &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}
	v := newVisit(target{url: at})
	transport := &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			proxy, err := n.proxy(r.URL)
			v.proxy = proxy
			return proxy, err
		},
		DialContext:     n.dial(v),
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10},
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(untraced{ctx}, http.MethodHead, at.String(), nil)
	if err != nil {
		return time.Time{}, false
	}
	req.Header.Set("User-Agent", "gomirror")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return time.Time{}, false
	}
	resp.Body.Close()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	return date, err == nil
}

// clockFix sets the clock by the network's time.
func clockFix(goos string) string {
	switch goos {
	case "darwin":
		return "sudo sntp -sS pool.ntp.org"
	case "windows":
		return "w32tm /resync"
	}
	return "sudo timedatectl set-ntp true"
}
