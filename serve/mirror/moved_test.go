package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

var modV1 = module.Version{Path: modPath, Version: "v1.0.0"}

// host is an origin whose tags move. Like the real one it keeps what it has made until
// it is told to forget.
type host struct {
	tags      map[string]string // version to commit, as they are now
	made      map[string]string // and as they were when a version was made
	listed    func(modPath string, commits map[string]string)
	forgotten []module.Version
	fault     error // of zips
}

func newHost() *host {
	return &host{tags: map[string]string{"v1.0.0": "aaaa", "v1.1.0": "aaaa"}, made: map[string]string{}}
}

func (h *host) Forget(_ context.Context, mod module.Version) error {
	h.forgotten = append(h.forgotten, mod)
	delete(h.made, mod.Version)
	return nil
}

func (h *host) Fetch(_ context.Context, req upstream.Request, sink upstream.Sink) error {
	version := req.Key.Module().Version
	meta := cache.Meta{Upstream: "direct", Status: 200}
	if req.Key.Kind() == cache.List {
		var list []string
		for v := range h.tags {
			list = append(list, v)
		}
		h.listed(req.Key.Module().Path, h.tags)
		return sink(req.Key, meta, strings.NewReader(strings.Join(list, "\n")))
	}
	commit := h.made[version]
	if commit == "" {
		commit = h.tags[version]
	}
	if commit == "" {
		return &NotFoundError{req.Key, "no such tag"}
	}
	h.made[version], meta.OriginHash = commit, commit
	switch req.Key.Kind() {
	case cache.Info:
		return sink(req.Key, meta, bytes.NewReader(infoFrom(version, commit)))
	case cache.Mod:
		return sink(req.Key, meta, strings.NewReader("module "+modPath+"\n"))
	}
	if h.fault != nil {
		return h.fault
	}
	body, err := zipFrom(version, commit)
	if err != nil {
		return err
	}
	return sink(req.Key, meta, bytes.NewReader(body))
}

func infoFrom(version, commit string) []byte {
	return fmt.Appendf(nil, `{"Version":%q,"Time":"2024-01-02T03:04:05Z","Origin":{"Hash":%q}}`, version, commit)
}

func newPrivate(t *testing.T, h *host, change ...func(*Options)) *Mirror {
	t.Helper()
	m := newMirror(t, &origin{fault: errors.New("a private name came to the public chain")}, append([]func(*Options){func(o *Options) {
		o.Origin, o.Private = h, func(path string) bool { return path == modPath }
	}}, change...)...)
	h.listed = m.Listed
	return m
}

// pull gets all files of a version and returns its zip.
func pull(t *testing.T, m *Mirror) string {
	t.Helper()
	var text string
	for _, name := range []string{infoKey, modKey, zipKey} {
		var err error
		if text, _, err = get(t, m, name); err != nil {
			t.Fatal(err)
		}
	}
	return text
}

func wantAlarms(t *testing.T, m *Mirror, want ...string) {
	t.Helper()
	moves, err := m.opts.Store.Moves()
	var got []string
	for _, move := range moves {
		got = append(got, move.String()+">"+move.Now)
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("alarms %q, %v; want %q", got, err, want)
	}
}

func TestMovedTag(t *testing.T) {
	h := newHost()
	m := newPrivate(t, h)
	before := pull(t, m)
	h.tags["v1.0.0"] = "bbbb"
	if got := pull(t, m); got != before {
		t.Error("a moved tag changed the bytes before it was noticed")
	}
	wantAlarms(t, m)
	if _, _, err := get(t, m, listKey); err != nil {
		t.Fatal(err)
	}
	wantAlarms(t, m, "example.com/m@v1.0.0>bbbb")
	if got := pull(t, m); got != before {
		t.Error("the alarm changed the bytes")
	}

	doc, err := m.RefreshVersion(t.Context(), modV1, false)
	if err != nil || doc.Commit != "aaaa" || doc.Moved != "bbbb" || doc.Accepted || doc.H1 == "" || doc.NewH1 != "" {
		t.Errorf("a question: %+v, %v", doc, err)
	}
	if got := pull(t, m); got != before {
		t.Error("a question changed the bytes")
	}

	h.fault = refused
	if doc, err := m.RefreshVersion(t.Context(), modV1, true); err == nil || doc.Accepted {
		t.Errorf("with the origin out of reach: %+v, %v", doc, err)
	}
	if got := pull(t, m); got != before {
		t.Error("the first bytes are gone, and the others are not there")
	}
	h.fault = nil

	doc, err = m.RefreshVersion(t.Context(), modV1, true)
	if err != nil || !doc.Accepted || doc.Commit != "aaaa" || doc.Moved != "bbbb" || doc.NewH1 == doc.H1 || doc.NewH1 == "" {
		t.Errorf("accepted: %+v, %v", doc, err)
	}
	after := pull(t, m)
	known, err := m.opts.Store.VersionMeta(modV1)
	if after == before || err != nil || known.OriginHash != "bbbb" || known.H1 != doc.NewH1 {
		t.Errorf("after that: the same bytes: %t, %+v, %v", after == before, known, err)
	}
	wantAlarms(t, m)
	if doc, err := m.RefreshVersion(t.Context(), modV1, true); err != nil || doc.Accepted || doc.Moved != "" {
		t.Errorf("accepted again: %+v, %v; want nothing to accept", doc, err)
	}
}

func TestDeletedTag(t *testing.T) {
	h := newHost()
	m := newPrivate(t, h)
	before := pull(t, m)
	delete(h.tags, "v1.0.0")
	doc, err := m.RefreshVersion(t.Context(), modV1, false)
	if err != nil || doc.Moved != cache.Deleted {
		t.Errorf("a question: %+v, %v", doc, err)
	}
	wantAlarms(t, m, "example.com/m@v1.0.0>deleted")
	if got := pull(t, m); got != before {
		t.Error("a tag that is gone took the bytes along")
	}
	if doc, err := m.RefreshVersion(t.Context(), modV1, true); err != nil || !doc.Accepted {
		t.Errorf("accepted: %+v, %v", doc, err)
	}
	if _, _, err := get(t, m, zipKey); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("given up, and yet: %v", err)
	}
	wantAlarms(t, m)
}

// The zip of a version whose .info was pulled before the tag moved is not to be had.
func TestMovedBetweenFiles(t *testing.T) {
	h := newHost()
	m := newPrivate(t, h)
	if _, _, err := get(t, m, infoKey); err != nil {
		t.Fatal(err)
	}
	h.tags["v1.0.0"], h.made = "bbbb", map[string]string{}
	var moved *cache.MovedError
	if _, _, err := get(t, m, zipKey); !errors.As(err, &moved) || moved.Was != "aaaa" || moved.Now != "bbbb" {
		t.Errorf("zip: got %v, want a MovedError", err)
	}
	wantAlarms(t, m, "example.com/m@v1.0.0>bbbb")
	if doc, err := m.RefreshVersion(t.Context(), modV1, true); err != nil || !doc.Accepted {
		t.Errorf("accepted: %+v, %v", doc, err)
	}
	pull(t, m)
}

func TestRefreshVersion(t *testing.T) {
	public := &origin{answers: map[string][]byte{"example.com/p/@v/v1.0.0.info": info("v1.0.0"), "example.com/p/@v/main.info": info("v1.0.0")}}
	h := newHost()
	m := newPrivate(t, h, func(o *Options) { o.Source = public })
	tests := []struct {
		name string
		mod  module.Version
		want Version
		err  error
	}{
		{"not pulled yet", modV1, Version{Module: modPath, Version: "v1.0.0", Private: true, Commit: "aaaa"}, nil},
		{"no such tag", module.Version{Path: modPath, Version: "v9.0.0"}, Version{}, fs.ErrNotExist},
		{"public", module.Version{Path: "example.com/p", Version: "v1.0.0"}, Version{Module: "example.com/p", Version: "v1.0.0"}, nil},
		{"public branch", module.Version{Path: "example.com/p", Version: "main"}, Version{Module: "example.com/p", Version: "v1.0.0", Ref: "main"}, nil},
		{"no module", module.Version{Path: "../m", Version: "v1.0.0"}, Version{}, fs.ErrNotExist},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := m.RefreshVersion(t.Context(), tt.mod, true)
			if !errors.Is(err, tt.err) {
				t.Fatalf("got %v, want %v", err, tt.err)
			}
			if err == nil && *got != tt.want {
				t.Errorf("got %+v, want %+v", *got, tt.want)
			}
		})
	}
	offline := newPrivate(t, newHost(), func(o *Options) { o.Offline = true })
	if _, err := offline.RefreshVersion(t.Context(), modV1, true); !errors.As(err, new(*OfflineError)) {
		t.Errorf("offline: %v", err)
	}
}

// Bytes that the checksum database vouched for stay, whatever became of the module.
func TestVerifiedIsNotMoved(t *testing.T) {
	h, private := newHost(), false
	public := newHost() // a mirror that tells commits
	public.listed = func(string, map[string]string) {}
	m := newPrivate(t, h, func(o *Options) {
		o.Source, o.Private = public, func(string) bool { return private }
		o.Verify = func(_ context.Context, _ cache.Key, d *cache.Draft) error { d.Judge(cache.Verified); return nil }
	})
	before := pull(t, m)
	private, h.tags["v1.0.0"] = true, "bbbb"
	doc, err := m.RefreshVersion(t.Context(), modV1, true)
	if err == nil || !strings.Contains(err.Error(), "vouches") || doc.Accepted {
		t.Errorf("got %+v, %v", doc, err)
	}
	if got := pull(t, m); got != before {
		t.Error("the bytes have changed")
	}
}

// What a stranger's mirror gave while the module was no secret yet keeps the origin's
// files out, until the user says so.
func TestStrangersFiles(t *testing.T) {
	h, private := newHost(), false
	stranger := newHost()
	stranger.tags["v1.0.0"], stranger.listed = "eeee", func(string, map[string]string) {}
	m := newPrivate(t, h, func(o *Options) { o.Source, o.Private = stranger, func(string) bool { return private } })
	before := pull(t, m)
	private = true
	if _, _, err := get(t, m, zipKey); err == nil {
		t.Error("the origin's zip is served beside the stranger's hash")
	}
	doc, err := m.RefreshVersion(t.Context(), modV1, true)
	if err != nil || !doc.Accepted || doc.Moved != "aaaa" {
		t.Fatalf("accepted: %+v, %v", doc, err)
	}
	if got := pull(t, m); got == before {
		t.Error("still the stranger's bytes")
	}
	private = false
	stranger.made = map[string]string{}
	if _, _, err := get(t, m, zipKey); !errors.As(err, new(*cache.ContradictionError)) {
		t.Errorf("public again: got %v, want the stranger's zip refused", err)
	}
}
