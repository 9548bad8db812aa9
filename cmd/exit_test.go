package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		err  error
		code int
		text string
	}{
		{"done", t.Context(), nil, 0, ""},
		{"plain", t.Context(), errors.New("read x: gone"), 1, "gomirror: read x: gone\n"},
		{"hint", t.Context(), fmt.Errorf("serve: %w", failf("gomirror stop", "busy")), 1, "gomirror: serve: busy\ntry: gomirror stop\n"},
		{"usage", t.Context(), usagef("", "unknown"), 2, "gomirror: unknown\n"},
		{"not running", t.Context(), &problem{errors.New("down"), exitNotRunning, ""}, 3, "gomirror: down\n"},
		{"interrupted", canceled, fmt.Errorf("wait: %w", context.Canceled), 130, ""},
		{"canceled by itself", t.Context(), context.Canceled, 1, "gomirror: context canceled\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stderr strings.Builder
			code := (&Env{Stderr: &stderr}).report(tt.ctx, tt.err)
			if code != tt.code || stderr.String() != tt.text {
				t.Errorf("got %d %q, want %d %q", code, stderr.String(), tt.code, tt.text)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	names := []string{"upstream", "private", "cache.dir", "offline"}
	tests := map[string]string{"upstrem": "upstream", "Private": "private", "cachedir": "cache.dir", "off": "", "x": "", "token": ""}
	for name, want := range tests {
		if got := nearest(name, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
