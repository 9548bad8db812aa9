package github_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/githosttest"
)

func TestDevice(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, clientID, token string
		pending               int
		want                  string // in the error
	}{
		{"granted", "Iv1.app", good, 1, ""},
		{"denied", "Iv1.app", "", 0, "log in at github.com: access was denied there"},
		{"no such app", "", "", 0, `log in at github.com: it knows no app "" that may do so`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			host := githosttest.New(t)
			host.Device(tt.token, tt.pending)
			host.Account(good, githosttest.Account{Login: "ann"})
			shown := ""
			got, err := newClient(t, host).Device(t.Context(), "github.com", tt.clientID, func(code, page string) { shown = code + " " + page })
			if tt.want != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
					t.Errorf("got %v, want %s", err, tt.want)
				}
				return
			}
			if err != nil || got.Reveal() != tt.token {
				t.Errorf("got another token (%v), want the granted one", err)
			}
			if want := "WDJB-MJHT https://github.com/login/device"; shown != want {
				t.Errorf("shows %q, want %q", shown, want)
			}
			for _, r := range host.Requests() {
				if r.Header.Get("Authorization") != "" {
					t.Errorf("%s %s carries a token, want none before there is one", r.Method, r.Path)
				}
			}
		})
	}
}

// TestDeviceLeft ends the wait for a user who has gone.
func TestDeviceLeft(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	host.Device(good, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := newClient(t, host).Device(ctx, "github.com", "Iv1.app", func(string, string) { cancel() })
	if err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// TestDeviceElsewhere has a host that sends the user, and the code, to another one.
func TestDeviceElsewhere(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	host.Account(good, githosttest.Account{Login: "ann"})
	host.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/login/device/code" {
			http.Redirect(w, r, "https://github.com/elsewhere", http.StatusTemporaryRedirect)
			return true
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"device_code":"d","user_code":"\u001b[2JAB-CD","verification_uri":"https://evil.example/device","expires_in":60,"interval":0}`))
		return true
	})
	page := ""
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := newClient(t, host).Device(ctx, "github.com", "Iv1.app", func(code, at string) { page = code + " " + at })
	if err == nil || page != "[2JAB-CD https://github.com/login/device" {
		t.Errorf("got %v after %q, want an error after our own page", err, page)
	}
	for _, r := range host.Requests() {
		if r.Path == "/elsewhere" {
			t.Error("the form follows a redirect, want none followed")
		}
	}
}
