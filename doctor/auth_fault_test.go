package doctor_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
	"github.com/gomirror/gomirror/serve/githosttest"
	"github.com/gomirror/gomirror/serve/upstream"
)

// TestGitHubUnreachable tells a network that fails from a token that does.
func TestGitHubUnreachable(t *testing.T) {
	tests := []struct {
		name string
		err  error
		hook func(http.ResponseWriter, *http.Request) bool
		want string
	}{
		{"DNS", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "api.github.com", IsNotFound: true}}, nil, "for DNS has no address of it"},
		{"refused", &net.OpError{Op: "dial", Err: errors.New("connection refused")}, nil, "for no connection comes about"},
		{"silence", nil, func(w http.ResponseWriter, r *http.Request) bool { hang(w, r); return true }, "for no answer comes in time"},
		{"a login page", nil, func(w http.ResponseWriter, r *http.Request) bool {
			fmt.Fprint(w, "<html>Welcome to our network")
			return true
		}, "for its answer is none of GitHub's"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAnn(t)
			a.dial = test.err
			if test.hook != nil {
				a.hub.Intercept(test.hook)
			}
			a.diagnose("A02 warn "+test.want+" -> gomirror doctor --only N01", "A03 skipped", "A04 skipped")
			a.dial = nil
			a.hub.Intercept(nil)
			a.diagnose("A02 ok")
		})
	}
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		a := newAnn(t)
		stranger := githosttest.New(t) // with an authority of its own
		client, err := upstream.NewClient(upstream.ClientOptions{
			Dial: a.hub.Dial, CAFile: stranger.CAFile, Trusted: func(string) bool { return true }, Lookup: a.hub.Lookup,
		})
		if err != nil {
			t.Fatal(err)
		}
		a.o.GitHub = github.New(github.Options{HTTP: client})
		a.diagnose("A02 warn for TLS fails -> gomirror doctor --only N01")
	})
}

// TestKeychainFaults has a keychain fail in each way that is told apart.
func TestKeychainFaults(t *testing.T) {
	for kind, want := range map[credential.Kind]string{
		credential.Locked:  "A01 fail the keychain is locked -> ",
		credential.Absent:  "A01 fail no keychain can be reached from here -> gomirror auth login --insecure-storage",
		credential.Denied:  "A01 fail the keychain refused it -> gomirror auth login",
		credential.Hanging: "A01 fail the keychain does not answer -> ",
	} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			a := newAnn(t)
			a.store("acme", other)
			a.hub.Account(other, githosttest.Account{Login: "ann", Scopes: []string{"repo"}, Sees: []string{"github.com/acme"}})
			a.fault = &credential.KeychainError{Kind: kind, Err: errors.New("it says so")}
			a.diagnose(want, "A02 skipped the token can't be read", "A03 skipped", "A04 skipped", "A05 skipped see A01")
			if found := runCheck(t, a.o, "A01"); len(found) != 1 {
				t.Errorf("one fault is told %d times: %+v", len(found), found)
			}
			a.fault = nil
			a.diagnose("A01 ok 2 tokens")
		})
	}
}
