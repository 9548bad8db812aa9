package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"time"
)

// Client asks a running sidecar. Its answers come within some seconds or not at all; only
// Refresh and Resolve may take as long as the origin of a module does.
type Client struct {
	stateDir string
	http     *http.Client
}

// Dial returns a Client of the sidecar of stateDir, or ErrNotRunning. It starts
// nothing and writes nothing.
func Dial(stateDir string) (*Client, error) {
	path, err := socketPath(stateDir)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), controlTime)
	defer cancel()
	probe, err := dial(ctx, "", "")
	switch {
	case err != nil && !errors.Is(err, fs.ErrPermission) && !Held(stateDir):
		return nil, &hinted{ErrNotRunning, "gomirror serve --background"}
	case err != nil:
		return nil, &hinted{fmt.Errorf("ask gomirror, which runs or is about to: %w", err), "once more in a moment"}
	}
	probe.Close()
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	return &Client{stateDir, &http.Client{Transport: transport, Timeout: 2 * controlTime}}, nil
}

// Status decodes what ControlOptions.Status returned into v.
func (c *Client) Status(ctx context.Context, v any) error {
	return c.do(ctx, http.MethodGet, "/status", nil, v)
}

// Patterns returns the private patterns that the sidecar goes by.
func (c *Client) Patterns(ctx context.Context) ([]string, error) {
	var patterns []string
	err := c.do(ctx, http.MethodGet, "/patterns", nil, &patterns)
	return patterns, err
}

// Failures decodes what ControlOptions.Failures returned into v.
func (c *Client) Failures(ctx context.Context, v any) error {
	return c.do(ctx, http.MethodGet, "/failures", nil, v)
}

// stopWait is how long Stop waits: longer than running requests are given to end.
const stopWait = 10 * time.Second

// Stop ends the sidecar and returns once its lock is free, so that the next start
// does not find it.
func (c *Client) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	if err := c.do(ctx, http.MethodPost, "/stop", nil, nil); err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for Held(c.stateDir) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("stop gomirror: it agreed but still runs: %w", ctx.Err())
		}
	}
	return nil
}

// Refresh decodes what ControlOptions.Refresh returned into v.
func (c *Client) Refresh(ctx context.Context, request Refresh, v any) error {
	return c.work(ctx, "/refresh", request, v)
}

// Resolve decodes what ControlOptions.Resolve returned into v.
func (c *Client) Resolve(ctx context.Context, request Resolve, v any) error {
	return c.work(ctx, "/resolve", request, v)
}

// ForgetTokens tells the sidecar that the user's tokens have changed, or what
// config.toml calls private.
func (c *Client) ForgetTokens(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/forget-tokens", nil, nil)
}

// work waits as long as ctx allows.
func (c *Client) work(ctx context.Context, path string, request, v any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	patient := &Client{c.stateDir, &http.Client{Transport: c.http.Transport}}
	return patient.do(ctx, http.MethodPost, path, body, v)
}

func (c *Client) do(ctx context.Context, method, path string, request []byte, v any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://gomirror"+path, bytes.NewReader(request))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask gomirror %s: %w", path, errors.Unwrap(err)) // without the made-up URL
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20)) // a status has a few kB
	switch {
	case err != nil:
		return fmt.Errorf("ask gomirror %s: %w", path, err)
	case resp.StatusCode == http.StatusUnprocessableEntity:
		var refused refusal
		if err := json.Unmarshal(body, &refused); err != nil {
			return fmt.Errorf("ask gomirror %s: %w", path, err)
		}
		return &refusedError{refused}
	case resp.StatusCode >= 300:
		return fmt.Errorf("ask gomirror %s: %s: %.200s", path, resp.Status, body)
	case v == nil:
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("ask gomirror %s: %w", path, err)
	}
	return nil
}
