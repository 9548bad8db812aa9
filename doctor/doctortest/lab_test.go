package doctortest_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gomirror/gomirror/doctor/doctortest"
)

// client is a plain one in the lab's network.
func client(l *doctortest.Lab) *http.Client {
	return &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{
		DialContext:       l.Dial,
		TLSClientConfig:   &tls.Config{RootCAs: l.Roots(), MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}}
}

// TestFaults shows each fault to a client that is not ours: what doctor finds there
// must be there.
func TestFaults(t *testing.T) {
	tests := []struct {
		name string
		set  func(*doctortest.Lab, *doctortest.Host)
		want func(error) bool
	}{
		{"healthy", func(*doctortest.Lab, *doctortest.Host) {}, func(err error) bool { return err == nil }},
		{"NXDOMAIN", func(l *doctortest.Lab, h *doctortest.Host) { l.First().Say(h.Name, doctortest.NXDomain) }, notFound},
		{"SERVFAIL", func(l *doctortest.Lab, h *doctortest.Host) { l.First().Say("", doctortest.ServFail) }, as[*net.DNSError]},
		{"silent resolver", func(l *doctortest.Lab, h *doctortest.Host) { l.First().Say("", doctortest.Silent) }, as[*net.DNSError]},
		{"lie", func(l *doctortest.Lab, h *doctortest.Host) { l.First().Lie(h.Name, "10.0.0.1") }, is(syscall.ECONNREFUSED)},
		{"closed port", func(_ *doctortest.Lab, h *doctortest.Host) { h.Port(doctortest.Closed) }, is(syscall.ECONNREFUSED)},
		{"swallows", func(_ *doctortest.Lab, h *doctortest.Host) { h.Port(doctortest.Swallows) }, timedOut},
		{"no route", func(_ *doctortest.Lab, h *doctortest.Host) { h.Port(doctortest.NoRoute) }, is(syscall.ENETUNREACH)},
		{"no route by IPv4", func(_ *doctortest.Lab, h *doctortest.Host) { h.PortOf(doctortest.NoRoute, doctortest.Open) },
			func(err error) bool { return err == nil }},
		{"mute", func(_ *doctortest.Lab, h *doctortest.Host) { h.TLS(doctortest.Mute, nil) }, timedOut},
		{"expired", func(_ *doctortest.Lab, h *doctortest.Host) { h.TLS(doctortest.Expired, nil) }, invalid(x509.Expired)},
		{"not yet", func(_ *doctortest.Lab, h *doctortest.Host) { h.TLS(doctortest.NotYet, nil) }, invalid(x509.Expired)},
		{"wrong name", func(_ *doctortest.Lab, h *doctortest.Host) { h.TLS(doctortest.WrongName, nil) }, as[x509.HostnameError]},
		{"unknown issuer", func(_ *doctortest.Lab, h *doctortest.Host) { h.TLS(doctortest.UnknownIssuer, nil) }, as[x509.UnknownAuthorityError]},
		{"old version", func(_ *doctortest.Lab, h *doctortest.Host) { h.TLS(doctortest.OldVersion, nil) },
			func(err error) bool { return err != nil && strings.Contains(err.Error(), "protocol version") }},
		{"no TLS", func(_ *doctortest.Lab, h *doctortest.Host) { h.TLS(doctortest.NoTLS, nil) },
			func(err error) bool {
				return err != nil && strings.Contains(err.Error(), "HTTP response to HTTPS client")
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lab := doctortest.New(t)
			host := lab.Host("mirror.example.com")
			tt.set(lab, host)
			resp, err := client(lab).Get("https://mirror.example.com/example.com/m/@v/v1.0.0.mod")
			if err == nil {
				defer resp.Body.Close()
				if body, _ := io.ReadAll(resp.Body); string(body) != "module example.com/m\n" {
					t.Errorf("body is %q", body)
				}
			}
			if !tt.want(err) {
				t.Errorf("error is %v, not of the kind %s", err, tt.name)
			}
		})
	}
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func as[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func notFound(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

func timedOut(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func invalid(reason x509.InvalidReason) func(error) bool {
	return func(err error) bool {
		bad, ok := errors.AsType[x509.CertificateInvalidError](err)
		return ok && bad.Reason == reason
	}
}

func TestHostsFile(t *testing.T) {
	lab := doctortest.New(t)
	host := lab.Host("mirror.example.com")
	lab.Pin(host.Name, "127.0.0.1")
	addrs, err := lab.Lookup(t.Context(), host.Name)
	if err != nil || len(addrs) != 1 || addrs[0].String() != "127.0.0.1" {
		t.Errorf("addresses are %v, %v; want that of the file", addrs, err)
	}
}

func TestProxy(t *testing.T) {
	for _, scheme := range []string{"https", "http"} {
		lab := doctortest.New(t)
		lab.Host("mirror.example.com").Port(doctortest.Closed)
		proxy := lab.Proxy()
		c := client(lab)
		transport := c.Transport.(*http.Transport)
		transport.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }
		get := func() (int, error) {
			resp, err := c.Get(scheme + "://mirror.example.com/example.com/m/@v/v1.0.0.mod")
			if err != nil {
				return 0, err
			}
			resp.Body.Close()
			return resp.StatusCode, nil
		}
		if code, err := get(); code != 200 {
			t.Errorf("%s through the proxy: %d, %v", scheme, code, err)
		}
		proxy.Refuse(407, "Basic")
		if code, err := get(); code == 200 || scheme == "https" && err == nil {
			t.Errorf("%s through a proxy that wants a password: %d, %v", scheme, code, err)
		}
		proxy.Refuse(0, "")
		proxy.Bar("mirror.example.com")
		if code, err := get(); code == 200 || scheme == "https" && err == nil {
			t.Errorf("%s through a proxy that bars the host: %d, %v", scheme, code, err)
		}
	}
}
