package githosttest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// device is the state of the one device flow that a test has.
type device struct {
	token   string // what the user approves; "" means that they deny
	pending int    // polls that are answered "authorization_pending" first
}

// Device lets the next device flow end with the token after so many polls that find
// it pending; without a token the user denies it.
func (h *Host) Device(token string, pending int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.know("github.com")
	h.device = device{token: token, pending: pending}
}

// serveDevice answers the two calls of the OAuth 2.0 device flow, RFC 8628, as
// GitHub does: errors are 200, and the form is the default encoding.
func (h *Host) serveDevice(w http.ResponseWriter, r *http.Request) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hubs[r.Host] == "" || r.Method != http.MethodPost {
		return false
	}
	answer := url.Values{}
	switch r.URL.Path {
	case "/login/device/code":
		if r.PostFormValue("client_id") == "" {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		answer.Set("device_code", "3584d83530557fdd1f46af8289938c8ef79f9dc5")
		answer.Set("user_code", "WDJB-MJHT")
		answer.Set("verification_uri", "https://"+r.Host+"/login/device")
		answer.Set("expires_in", "900")
		answer.Set("interval", "1") // GitHub says 5; a test has no time for that
	case "/login/oauth/access_token":
		switch {
		case h.device.pending > 0:
			h.device.pending--
			answer.Set("error", "authorization_pending")
			answer.Set("error_description", "The authorization request is still pending.")
		case h.device.token == "":
			answer.Set("error", "access_denied")
			answer.Set("error_description", "The authorization request was denied.")
		default:
			answer.Set("access_token", h.device.token)
			answer.Set("token_type", "bearer")
			answer.Set("scope", "repo")
		}
	default:
		return false
	}
	if strings.Contains(r.Header.Get("Accept"), "json") {
		fields := map[string]any{}
		for name := range answer {
			fields[name] = answer.Get(name)
			if number, err := strconv.Atoi(answer.Get(name)); err == nil {
				fields[name] = number
			}
		}
		reply(w, http.StatusOK, fields)
		return true
	}
	w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	w.Write([]byte(answer.Encode()))
	return true
}
