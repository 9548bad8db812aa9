package github

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/cli/oauth/api"
	"github.com/cli/oauth/device"

	"github.com/gomirror/gomirror/serve/credential"
)

// Device gets a token by OAuth's device flow: show is given a code and the page where
// the user types it in, and Device returns once they have. clientID is that of an
// OAuth app; a secret is not needed.
//
// https://docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps#device-flow
func (c *Client) Device(ctx context.Context, host, clientID string, show func(code, page string)) (credential.Secret, error) {
	none := credential.NewSecret("")
	forms := &formClient{ctx: ctx, c: c, host: host}
	code, err := device.RequestCode(forms, "https://"+host+"/login/device/code", clientID, []string{privateScope, "read:org"})
	switch {
	case errors.Is(err, device.ErrUnsupported):
		return none, fmt.Errorf("log in at %s: it knows no app %q that may do so", host, clientID)
	case err != nil:
		return none, fmt.Errorf("log in at %s: %w", host, c.explain(err, host, none))
	}
	show(oneLine(code.UserCode), pageURL(code.VerificationURI, host))
	token, err := device.Wait(ctx, forms, "https://"+host+"/login/oauth/access_token", device.WaitOptions{ClientID: clientID, DeviceCode: code})
	var refused *api.Error
	switch {
	case err == nil:
		return credential.NewSecret(token.Token), nil
	case ctx.Err() != nil:
		return none, ctx.Err()
	case errors.Is(err, device.ErrTimeout), errors.As(err, &refused) && refused.Code == "expired_token":
		return none, fmt.Errorf("log in at %s: the code was not typed in within its time", host)
	case errors.As(err, &refused) && refused.Code == "access_denied":
		return none, fmt.Errorf("log in at %s: access was denied there", host)
	case errors.As(err, &refused):
		return none, fmt.Errorf("log in at %s: %s", host, oneLine(refused.Error()))
	}
	return none, fmt.Errorf("log in at %s: %w", host, c.explain(err, host, none))
}

// pageURL is where the code is typed in.
func pageURL(text, host string) string {
	if u, err := url.Parse(text); err == nil && u.Scheme == "https" && u.Host == host && u.User == nil {
		return u.String()
	}
	return "https://" + host + "/login/device"
}

// formLimit is far above an answer of the flow, a few fields.
const formLimit = 64 << 10

// formClient posts the forms of the flow, each with a limit of its own: the library
// gives its context to no request. It follows no redirect: the answer is a token.
type formClient struct {
	ctx  context.Context
	c    *Client
	host string
}

// PostForm implements what cli/oauth takes for a client.
func (f *formClient) PostForm(to string, form url.Values) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(f.ctx, requestLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "gomirror")
	client := f.c.bound(f.host, credential.NewSecret(""))
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, formLimit)) // within the limit of time
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, err
}
