//go:build unix

package doctor_test

import (
	"net/http"
	"strings"
	"time"

	"github.com/gomirror/gomirror/doctor/doctortest"
)

const toOffline = " -> gomirror config set offline true; " + restartLine

// noGitHub is what follows where GitHub is out of reach: nobody knows whether the token is
// good.
func noGitHub() []string {
	return []string{"A02 warn can't be asked about the token -> gomirror doctor --only N01"}
}

// useProxy has the user know of an HTTP proxy that leads out.
func (w *whole) useProxy() { w.blanks = append(w.blanks, "http://PROXY:PORT", w.lab.Proxy().URL) }

// hosts returns all hosts of the network.
func (w *whole) hosts() []*doctortest.Host {
	return []*doctortest.Host{w.mirror, w.second, w.sums, w.github, w.api, w.codeload}
}

// nameFaults are in DNS.
func nameFaults() []fault {
	says := func(host string, a doctortest.Answer) func(*whole) {
		return func(w *whole) { w.lab.First().Say(host, a) }
	}
	const mirror = "mirror.example.com"
	return []fault{
		{"NXDOMAIN", says(mirror, doctortest.NXDomain), "N01 fail there is no host " + mirror + " -> " + toSecond, nil, true},
		{"SERVFAIL", says(mirror, doctortest.ServFail), "N01 fail (SERVFAIL) -> " + toSecond, nil, true},
		{"DNS times out", says(mirror, doctortest.Silent), "N01 fail no DNS server answers for " + mirror + " -> " + toSecond, nil, true},
		{"DNS times out for all", says("", doctortest.Silent), "N01 fail no DNS server answers, so no host can be found" + toOffline, noGitHub(), true},
		{"DNS SERVFAIL for all", says("", doctortest.ServFail), "N01 fail can't look up any host (SERVFAIL)" + toOffline, noGitHub(), true},
		{"DNS lies", func(w *whole) { w.lab.First().Lie("github.com", "0.0.0.0"); w.useProxy() },
			"N01 fail DNS sends github.com to 0.0.0.0 -> export HTTPS_PROXY=", nil, true},
		{"first DNS server lies", func(w *whole) { w.lab.First().Lie(mirror, "203.0.113.9"); w.lab.Resolver() },
			"N01 fail where it is not; it is where the DNS server -> sudo sed -i.bak '1i nameserver", nil, false},
		{"first DNS server dead", func(w *whole) { w.lab.First().Say("", doctortest.Silent); w.lab.Resolver() },
			"N01 warn answers for no host, and others have to -> sudo sed -i.bak '/^nameserver", nil, false},
		{"hosts file", func(w *whole) { w.lab.Pin("github.com", "127.0.0.1") }, "N01 fail sends github.com to 127.0.0.1 -> sudo sed -i.bak '/github", nil, true},
	}
}

// connectionFaults are in addresses and ports.
func connectionFaults() []fault {
	port := func(p doctortest.Port) func(*whole) { return func(w *whole) { w.mirror.Port(p) } }
	all := func(v4, v6 doctortest.Port) func(*whole) {
		return func(w *whole) {
			for _, h := range w.hosts() {
				h.PortOf(v4, v6)
			}
		}
	}
	return []fault{
		{"port closed", port(doctortest.Closed), "N01 fail refuses connections -> " + toSecond, nil, true},
		{"port swallows", port(doctortest.Swallows), "N01 fail swallows the connections -> " + toSecond, nil, true},
		{"no route", port(doctortest.NoRoute), "N01 fail no route from here -> " + toSecond, nil, true},
		{"no route to any", all(doctortest.NoRoute, doctortest.NoRoute), "N01 fail there is no route to any host" + toOffline, noGitHub(), true},
		{"all swallowed", all(doctortest.Swallows, doctortest.Swallows), "N01 fail no host answers" + toOffline, noGitHub(), true},
		{"IPv6 swallowed", all(doctortest.Open, doctortest.Swallows), "N01 warn connections by IPv6 are swallowed -> sudo sysctl", nil, false},
		{"GitHub swallowed", func(w *whole) { w.github.Port(doctortest.Swallows); w.useProxy() }, "N01 fail github.com at -> export HTTPS_PROXY=", nil, true},
		{"database closed", func(w *whole) {
			w.mirror.Serve(noRelay)
			w.second.Serve(noRelay)
			w.sums.Port(doctortest.Closed)
			w.lab.Host("sum.golang.google.cn")
		}, "N01 fail sum.golang.org at -> go env -w GOSUMDB=sum.golang.google.cn", nil, true},
	}
}

// proxyFaults are in the HTTP proxy of the network.
func proxyFaults() []fault {
	proxied := func(set func(*whole, *doctortest.Proxy)) func(*whole) {
		return func(w *whole) {
			p := w.lab.Proxy()
			w.vars["HTTPS_PROXY"] = p.URL
			w.run(restartLine)
			set(w, p)
		}
	}
	return []fault{
		{"HTTP proxy dead, not needed", func(w *whole) { w.vars["HTTPS_PROXY"] = "http://" + w.lab.Closed(); w.run(restartLine) },
			"N01 fail refuses connections, and this network lets connections out -> unset HTTPS_PROXY; " + restartLine, noGitHub(), true},
		{"HTTP proxy swallows", func(w *whole) { w.vars["HTTPS_PROXY"] = "http://" + w.lab.Hole(); w.run(restartLine) },
			"N01 fail does not answer, and this network lets -> unset HTTPS_PROXY; " + restartLine, noGitHub(), true},
		{"HTTP proxy 407", proxied(func(_ *whole, p *doctortest.Proxy) { p.Refuse(407, "Basic realm=x") }),
			"N01 fail wants a user and a password (407) -> export HTTPS_PROXY=http://USER:PASSWORD@", noGitHub(), false},
		{"HTTP proxy NTLM", proxied(func(_ *whole, p *doctortest.Proxy) { p.Refuse(407, "NTLM") }),
			"N01 fail a login of the kind NTLM -> export HTTPS_PROXY=http://127.0.0.1:3128", noGitHub(), false},
		{"HTTP proxy bars GitHub", proxied(func(_ *whole, p *doctortest.Proxy) { p.Bar("github.com") }),
			"N01 fail does not connect to github.com: it answers 403 -> export NO_PROXY=github.com", nil, true},
	}
}

// tlsFaults are in the TLS of the first mirror.
func tlsFaults() []fault {
	tls := func(way doctortest.TLS) func(*whole) { return func(w *whole) { w.mirror.TLS(way, nil) } }
	return []fault{
		{"TLS expired", tls(doctortest.Expired), "N01 fail the certificate of https://mirror.example.com ended on -> " + toSecond, nil, true},
		{"TLS not yet valid", tls(doctortest.NotYet), "N01 fail holds only from -> " + toSecond, nil, true},
		{"TLS of another name", tls(doctortest.WrongName), "N01 fail shows a certificate for other.example.net -> " + toSecond, nil, true},
		{"TLS of an unknown issuer", func(w *whole) {
			ca := doctortest.NewAuthority(w.t, "Example Root CA")
			w.blanks = []string{"FILE", w.path("corp.pem")}
			ca.WritePEM(w.path("corp.pem"))
			w.mirror.TLS(doctortest.UnknownIssuer, ca)
		}, "N01 fail that Example Root CA signed -> gomirror config set network.ca_file FILE", nil, true},
		{"TLS opened on the way", func(w *whole) {
			ca := doctortest.NewAuthority(w.t, "Netskope CA")
			w.vars["NODE_EXTRA_CA_CERTS"] = w.path("corp.pem")
			ca.WritePEM(w.path("corp.pem"))
			w.mirror.TLS(doctortest.UnknownIssuer, ca)
		}, "N01 fail Netskope CA opens the TLS to mirror.example.com -> gomirror config set network.ca_file", nil, true},
		{"TLS of old", tls(doctortest.OldVersion), "N01 fail nothing better than TLS 1.0 -> " + toSecond, nil, true},
		{"no TLS", tls(doctortest.NoTLS), "N01 fail answers without TLS -> " + toSecond, nil, true},
	}
}

// answerFaults are in what the first mirror answers.
func answerFaults() []fault {
	says := func(code int, kind string) func(*whole) {
		return func(w *whole) { w.mirror.Serve(answer(code, kind, "no")) }
	}
	return []fault{
		{"upstream 401", says(401, "text/plain"), "N01 fail wants a user and a password (401) -> gomirror config set upstream https://USER:PASSWORD@mirror.example.com", nil, false},
		{"upstream 403", says(403, "text/plain"), "N01 fail refuses to answer (403 -> " + toSecond, nil, true},
		{"upstream 404", says(404, "text/plain"), "N01 warn has not the module that every public mirror has (404 -> " + toSecond, nil, true},
		{"upstream 410", says(410, "text/plain"), "N01 warn (410 Gone) -> " + toSecond, nil, true},
		{"upstream 429", func(w *whole) {
			until := time.Now().Add(2 * time.Second)
			w.mirror.Serve(func(rw http.ResponseWriter, _ *http.Request) {
				if time.Now().Before(until) {
					rw.Header().Set("Retry-After", "2")
					rw.WriteHeader(http.StatusTooManyRequests)
				}
			})
		}, "N01 warn has had too many requests -> sleep 2", nil, true},
		{"upstream 500", says(500, "text/plain"), "N01 fail is out of order (500 -> " + toSecond, nil, true},
		{"upstream sends a page", says(200, "text/html"), "N01 fail answers with a web page -> " + toSecond, nil, true},
		{"upstream never answers", func(w *whole) {
			w.mirror.Serve(hang)
		}, "N01 fail takes the request and does not answer -> " + toSecond, nil, true},
		{"redirect to a blocked host", func(w *whole) {
			w.lab.Host("cdn.example.org").Port(doctortest.Swallows)
			w.mirror.Serve(redirect("https://cdn.example.org/x"))
		}, "N01 fail cdn.example.org (https://mirror.example.com sends there) -> " + toSecond, nil, true},
		{"redirect of zips to a blocked host", func(w *whole) {
			w.lab.Host("files.example.org").Port(doctortest.Closed)
			w.mirror.Serve(func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, ".zip") {
					redirect("https://files.example.org/x")(rw, r)
				}
			})
		}, "N01 fail files.example.org (https://mirror.example.com sends there) -> " + toSecond, nil, true},
		{"redirect in a circle", func(w *whole) { w.mirror.Serve(redirect("https://mirror.example.com/x")) }, "N01 fail redirects without end -> " + toSecond, nil, true},
		{"redirect to http", func(w *whole) { w.mirror.Serve(redirect("http://cdn.example.org/x")) }, "N01 fail redirects to http://cdn.example.org -> " + toSecond, nil, true},
	}
}
