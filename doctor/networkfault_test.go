package doctor_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/doctor/doctortest"
)

// networkFault is one thing wrong, and all that N01 may say of it.
type networkFault struct {
	name string
	set  func(*world)
	want []string // one text of each finding that is not OK, "warn: " before a warning
	fix  string   // of the first
	cure bool     // its command can be run here
}

func (f networkFault) run(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f.set(w)
	found := bad(w.look("N01"))
	ok := len(found) == len(f.want)
	for i, want := range f.want {
		status := doctor.Fail
		if rest, isWarn := strings.CutPrefix(want, "warn: "); isWarn {
			status, want = doctor.Warn, rest
		}
		ok = ok && found[i].Status == status && strings.Contains(found[i].Text, want) && found[i].Fix != ""
	}
	if !ok {
		t.Fatalf("N01 says%s\nwant %q", show(found), f.want)
	}
	if !strings.HasPrefix(found[0].Fix, f.fix) {
		t.Errorf("fix is %q, want %q", found[0].Fix, f.fix)
	}
	if !f.cure {
		return
	}
	w.cure(found[0].Fix)
	for _, left := range bad(w.look("N01")) {
		if left.Text == found[0].Text || len(f.want) == 1 {
			t.Errorf("after %q N01 still says%s", found[0].Fix, show([]doctor.Finding{left}))
		}
	}
}

// second adds a healthy upstream behind the first.
func (w *world) second() {
	w.Host("second.example.net")
	w.o.Upstream = "https://mirror.example.com,https://second.example.net,direct"
}

const toSecond = "gomirror config set upstream https://second.example.net,direct"

func TestNameFaults(t *testing.T) {
	for _, f := range []networkFault{
		{"NXDOMAIN", func(w *world) { w.second(); w.resolver.Say("mirror.example.com", doctortest.NXDomain) },
			[]string{"there is no host mirror.example.com"}, toSecond, true},
		{"SERVFAIL", func(w *world) { w.second(); w.resolver.Say("mirror.example.com", doctortest.ServFail) },
			[]string{"can't tell the address of mirror.example.com (SERVFAIL)"}, toSecond, true},
		{"REFUSED", func(w *world) { w.second(); w.resolver.Say("mirror.example.com", doctortest.Refused) },
			[]string{"(REFUSED)"}, toSecond, true},
		{"empty", func(w *world) { w.second(); w.resolver.Say("mirror.example.com", doctortest.Empty) },
			[]string{"the host mirror.example.com has no address"}, toSecond, true},
		{"silent for one", func(w *world) { w.second(); w.resolver.Say("mirror.example.com", doctortest.Silent) },
			[]string{"no DNS server answers for mirror.example.com"}, toSecond, true},
		{"silent for all", func(w *world) { w.resolver.Say("", doctortest.Silent) },
			[]string{"no DNS server answers, so no host can be found"}, "gomirror config set offline true", true},
		{"SERVFAIL for all", func(w *world) { w.resolver.Say("", doctortest.ServFail) },
			[]string{"the DNS server can't look up any host (SERVFAIL)"}, "gomirror config set offline true", true},
		{"one resolver lies", func(w *world) {
			w.resolver.Lie("mirror.example.com", "203.0.113.9")
			w.Resolver()
		}, []string{"DNS sends mirror.example.com to 203.0.113.9, where it is not; it is where the DNS server"},
			"sudo sed -i.bak '1i nameserver 127.0.0.1:", false},
		{"a filter", func(w *world) { w.resolver.Lie("github.com", "0.0.0.0") },
			[]string{"DNS sends github.com to 0.0.0.0, which is not its address"}, "export HTTPS_PROXY=", false},
		{"a private address for a public host", func(w *world) { w.resolver.Lie("github.com", "10.1.2.3") },
			[]string{"DNS sends github.com to 10.1.2.3, which is not its address"}, "export HTTPS_PROXY=", false},
		{"a sign-in page stands in", func(w *world) {
			portal := w.Host("portal.example.org")
			w.resolver.Lie("github.com", portal.IPv4.String())
		}, []string{"github.com shows a certificate for portal.example.org: somebody else answers"}, "xdg-open http://github.com/", false},
		{"hosts file", func(w *world) { w.Pin("github.com", "127.0.0.1") },
			[]string{"sends github.com to 127.0.0.1, and there: "}, "sudo sed -i.bak '/github\\.com/d' ", true},
		{"first of two resolvers is dead", func(w *world) { w.resolver.Say("", doctortest.Silent); w.Resolver() },
			[]string{"warn: answers for no host, and others have to"}, "sudo sed -i.bak '/^nameserver 127\\.0\\.0\\.1:", false},
		{"first of two resolvers knows nothing of it", func(w *world) {
			w.resolver.Say("mirror.example.com", doctortest.NXDomain)
			w.Resolver()
		}, []string{"is asked first and says: NXDOMAIN"}, "sudo sed -i.bak '1i nameserver 127.0.0.1:", false},
	} {
		t.Run(f.name, f.run)
	}
}

func TestConnectFaults(t *testing.T) {
	for _, f := range []networkFault{
		{"closed", func(w *world) { w.second(); w.mirror.Port(doctortest.Closed) },
			[]string{"https://mirror.example.com at 198.51.100.1, 2001:db8::1 refuses connections"}, toSecond, true},
		{"closed, alone", func(w *world) { w.mirror.Port(doctortest.Closed) },
			[]string{"refuses connections"}, "gomirror config set upstream direct", true},
		{"closed, from a variable", func(w *world) {
			w.second()
			w.o.Origins = map[string]string{"upstream": "GOMIRROR_UPSTREAM"}
			w.mirror.Port(doctortest.Closed)
		}, []string{"refuses connections"}, "export GOMIRROR_UPSTREAM=https://second.example.net,direct", false},
		{"closed, with a sidecar", func(w *world) {
			w.second()
			w.daemon.Running, w.daemon.Status.Upstream = true, w.o.Upstream
			w.mirror.Port(doctortest.Closed)
		}, []string{"refuses connections"}, toSecond + "; gomirror stop; gomirror serve --background", false},
		{"closed, but another stands in", func(w *world) {
			w.second()
			w.o.Upstream = "https://mirror.example.com|https://second.example.net,direct"
			w.mirror.Port(doctortest.Closed)
		}, []string{"warn: refuses connections"}, toSecond, true},
		{"closed, behind one that works", func(w *world) {
			w.second()
			w.o.Upstream = "https://second.example.net,https://mirror.example.com,direct"
			w.mirror.Port(doctortest.Closed)
		}, []string{"warn: refuses connections"}, toSecond, true},
		{"swallows", func(w *world) { w.second(); w.mirror.Port(doctortest.Swallows) },
			[]string{"does not answer: something in between swallows the connections"}, toSecond, true},
		{"no route", func(w *world) { w.second(); w.mirror.Port(doctortest.NoRoute) },
			[]string{"there is no route from here"}, toSecond, true},
		{"no route to any", func(w *world) {
			for _, h := range []*doctortest.Host{w.mirror, w.sums, w.github, w.api, w.codeload} {
				h.Port(doctortest.NoRoute)
			}
		}, []string{"there is no route to any host"}, "gomirror config set offline true", true},
		{"all swallowed", func(w *world) {
			for _, h := range []*doctortest.Host{w.mirror, w.sums, w.github, w.api, w.codeload} {
				h.Port(doctortest.Swallows)
			}
		}, []string{"no host answers: this machine looks offline"}, "gomirror config set offline true", true},
		{"IPv6 swallowed", func(w *world) {
			for _, h := range []*doctortest.Host{w.mirror, w.sums, w.github, w.api, w.codeload} {
				h.PortOf(doctortest.Open, doctortest.Swallows)
			}
		}, []string{"warn: connections by IPv6 are swallowed on the way, those by IPv4 get through"}, "sudo sysctl -w net.ipv6", false},
		{"github.com swallows", func(w *world) { w.github.Port(doctortest.Swallows) },
			[]string{"github.com at 198.51.100.3, 2001:db8::3 does not answer"}, "export HTTPS_PROXY=", false},
		{"database", func(w *world) {
			w.mirror.Serve(noRelay)
			w.sums.Port(doctortest.Closed)
			w.Host("sum.golang.google.cn")
		}, []string{"sum.golang.org at 198.51.100.2, 2001:db8::2 refuses connections"}, "go env -w GOSUMDB=sum.golang.google.cn", true},
		{"closed, but git has a proxy", func(w *world) {
			w.proxy = w.Proxy()
			w.gitProxy = w.proxy.URL
			w.o.Exec, w.o.Environ = git(w.gitProxy), func() []string { return nil }
			for _, h := range []*doctortest.Host{w.mirror, w.sums, w.github, w.api, w.codeload} {
				h.Port(doctortest.Closed)
			}
		}, []string{"git goes through the HTTP proxy", "sum.golang.org", "github.com", "api.github.com"}, "export HTTPS_PROXY=\"$(git config", true},
	} {
		t.Run(f.name, f.run)
	}
}

func TestProxyFaults(t *testing.T) {
	proxied := func(w *world) *doctortest.Proxy {
		p := w.Proxy()
		w.env["HTTPS_PROXY"] = p.URL
		return p
	}
	closedAll := func(w *world) {
		for _, h := range []*doctortest.Host{w.mirror, w.sums, w.github, w.api, w.codeload} {
			h.Port(doctortest.Closed)
		}
	}
	for _, f := range []networkFault{
		{"closed, not needed", func(w *world) { w.env["HTTPS_PROXY"] = "http://" + w.Closed() },
			[]string{"refuses connections, and this network lets connections out without it"}, "unset HTTPS_PROXY", true},
		{"closed, needed", func(w *world) { w.env["https_proxy"] = "http://" + w.Closed(); closedAll(w) },
			[]string{"(from https_proxy) refuses connections"}, "export https_proxy=http://PROXY:PORT", false},
		{"swallows", func(w *world) { w.env["HTTPS_PROXY"] = "http://" + w.Hole() },
			[]string{"does not answer, and this network lets"}, "unset HTTPS_PROXY", true},
		{"no such name", func(w *world) { w.env["HTTPS_PROXY"] = "http://proxy.example.org:3128" },
			[]string{"there is no host proxy.example.org"}, "unset HTTPS_PROXY", true},
		{"407", func(w *world) { proxied(w).Refuse(407, "Basic realm=x") },
			[]string{"wants a user and a password (407)"}, "export HTTPS_PROXY=http://USER:PASSWORD@127.0.0.1:", false},
		{"407 with a password", func(w *world) {
			p := proxied(w)
			p.Refuse(407, "Basic realm=x")
			w.env["HTTPS_PROXY"] = strings.Replace(p.URL, "http://", "http://me:s3cret@", 1)
		}, []string{"does not take the user and password in HTTPS_PROXY (407)"}, "export HTTPS_PROXY=http://USER:PASSWORD@127.0.0.1:", false},
		{"NTLM", func(w *world) { proxied(w).Refuse(407, "NTLM") },
			[]string{"wants a login of the kind NTLM"}, "export HTTPS_PROXY=http://127.0.0.1:3128", false},
		{"bars one host", func(w *world) { proxied(w).Bar("github.com") },
			[]string{"does not connect to github.com: it answers 403 Forbidden, and the host can be reached"}, "export NO_PROXY=github.com", true},
		{"out of order", func(w *world) { proxied(w).Refuse(502, ""); closedAll(w) },
			[]string{"does not connect to mirror.example.com", "sum.golang.org", "to github.com", "to api.github.com"}, "export HTTPS_PROXY=", false},
	} {
		t.Run(f.name, f.run)
	}
}

func TestTLSFaults(t *testing.T) {
	for _, f := range []networkFault{
		{"expired", func(w *world) { w.second(); w.mirror.TLS(doctortest.Expired, nil) },
			[]string{"the certificate of https://mirror.example.com ended on "}, toSecond, true},
		{"not yet", func(w *world) { w.second(); w.mirror.TLS(doctortest.NotYet, nil) },
			[]string{"holds only from "}, toSecond, true},
		{"wrong name", func(w *world) { w.second(); w.mirror.TLS(doctortest.WrongName, nil) },
			[]string{"shows a certificate for other.example.net"}, toSecond, true},
		{"unknown issuer", func(w *world) { w.second(); w.mirror.TLS(doctortest.UnknownIssuer, nil) },
			[]string{"shows a certificate that Nobody Knows Me CA signed"}, "gomirror config set network.ca_file FILE", false},
		{"interceptor", func(w *world) {
			w.mirror.TLS(doctortest.UnknownIssuer, doctortest.NewAuthority(w.t, "Zscaler Intermediate Root CA"))
		}, []string{"Zscaler Intermediate Root CA opens the TLS to mirror.example.com"}, "gomirror config set network.ca_file FILE", false},
		{"interceptor whom others know", func(w *world) {
			ca := doctortest.NewAuthority(w.t, "Netskope CA")
			w.env["NODE_EXTRA_CA_CERTS"] = filepath.Join(w.t.TempDir(), "corp ca.pem")
			ca.WritePEM(w.env["NODE_EXTRA_CA_CERTS"])
			w.mirror.TLS(doctortest.UnknownIssuer, ca)
		}, []string{"Netskope CA opens the TLS to mirror.example.com"}, "gomirror config set network.ca_file '/", true},
		{"old version", func(w *world) { w.second(); w.mirror.TLS(doctortest.OldVersion, nil) },
			[]string{"speaks nothing better than TLS 1.0"}, toSecond, true},
		{"no TLS", func(w *world) { w.second(); w.mirror.TLS(doctortest.NoTLS, nil) },
			[]string{"answers without TLS on its port for https"}, toSecond, true},
		{"mute", func(w *world) { w.second(); w.mirror.TLS(doctortest.Mute, nil) },
			[]string{"never answers to TLS"}, toSecond, true},
		{"clock two days ahead", func(w *world) {
			w.github.TLS(doctortest.Sound, nil)
			w.o.Now = func() time.Time { return time.Now().AddDate(0, 6, 0) }
		}, []string{"the certificate of https://mirror.example.com ended on", "sum.golang.org", "github.com", "api.github.com"},
			"sudo timedatectl set-ntp true", false},
	} {
		t.Run(f.name, f.run)
	}
}

func TestAnswerFaults(t *testing.T) {
	says := func(code int, kind, text string) func(*world) {
		return func(w *world) { w.second(); w.mirror.Serve(answer(code, kind, text)) }
	}
	for _, f := range []networkFault{
		{"401", says(401, "text/plain", "who"), []string{"wants a user and a password (401)"}, "gomirror config set upstream https://USER:PASSWORD@mirror.example.com,", false},
		{"403", says(403, "text/plain", "no"), []string{"refuses to answer (403 Forbidden)"}, toSecond, true},
		{"404", says(404, "text/plain", "no"), []string{"warn: has not the module that every public mirror has (404 Not Found)"}, toSecond, true},
		{"404 of a web server", says(404, "text/html", "<p>"), []string{"warn: (404 Not Found): is its path right?"}, toSecond, true},
		{"410", says(410, "text/plain", "no"), []string{"warn: (410 Gone)"}, toSecond, true},
		{"500", says(500, "text/plain", "no"), []string{"is out of order (500 Internal Server Error)"}, toSecond, true},
		{"503 alone", func(w *world) { w.mirror.Serve(answer(503, "text/plain", "")) }, []string{"is out of order (503"}, "gomirror config set upstream direct", true},
		{"page", says(200, "text/html; charset=utf-8", "<h1>Please log in"), []string{"answers with a web page where a go.mod should be"}, toSecond, true},
		{"429", func(w *world) {
			w.second()
			w.mirror.Serve(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Retry-After", "7")
				rw.WriteHeader(429)
			})
		}, []string{"warn: has had too many requests from this network (429); it wants to be asked again after 7 s"}, "sleep 7", false},
		{"never", func(w *world) {
			w.second()
			w.mirror.Serve(hang)
		}, []string{"takes the request and does not answer"}, toSecond, true},
		{"breaks off", func(w *world) {
			w.second()
			w.mirror.Serve(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Length", "100")
				rw.Write([]byte("module"))
			})
		}, []string{"breaks off in its answer after 6 bytes"}, toSecond, true},
		{"redirect to a blocked host", func(w *world) {
			w.second()
			w.Host("cdn.example.org").Port(doctortest.Swallows)
			w.mirror.Serve(redirect("https://cdn.example.org/x"))
		}, []string{"cdn.example.org (https://mirror.example.com sends there) at"}, toSecond, true},
		{"zips redirect to a blocked host", func(w *world) {
			w.second()
			w.Host("cdn.example.org").TLS(doctortest.UnknownIssuer, nil)
			w.mirror.Serve(func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, ".zip") {
					redirect("https://cdn.example.org/x")(rw, r)
				}
			})
		}, []string{"cdn.example.org (https://mirror.example.com sends there) shows a certificate"}, "gomirror config set network.ca_file FILE", false},
		{"redirect in a circle", func(w *world) { w.second(); w.mirror.Serve(redirect("https://mirror.example.com/x")) },
			[]string{"redirects without end"}, toSecond, true},
		{"redirect to http", func(w *world) { w.second(); w.mirror.Serve(redirect("http://cdn.example.org/x")) },
			[]string{"redirects to http://cdn.example.org, which is not followed"}, toSecond, true},
		{"redirect into the own network", func(w *world) { w.mirror.Serve(redirect("https://10.0.0.7/x")) },
			[]string{"redirects to 10.0.0.7, an address inside your network"}, "gomirror config set network.hosts 10.0.0.7", false},
		{"github.com is out of order", func(w *world) { w.github.Serve(answer(503, "text/plain", "")) },
			[]string{"github.com is out of order (503 Service Unavailable)"}, "sleep 60; gomirror doctor --only N01", false},
	} {
		t.Run(f.name, f.run)
	}
}
