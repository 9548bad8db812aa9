package sumdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/redact"
	"github.com/gomirror/gomirror/serve/upstream"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"
)

// question is a parsed request of the relay.
type question struct {
	kind   string // "supported", "latest", "lookup" or "tile"
	lookup module.Version
	tile   tlog.Tile
}

// parseQuestion parses a path below a database's address. The error says what is
// wrong with it; there is no such path then.
func parseQuestion(path string) (question, error) {
	kind, _, _ := strings.Cut(path, "/")
	switch {
	case path == "supported" || path == "latest":
		return question{kind: path}, nil
	case kind == "lookup":
		mod, err := parseLookup(path)
		if err == nil {
			// The one check of paths and versions. Nothing else is asked of a database.
			_, err = cache.NewKey(mod.Path, mod.Version, cache.Mod)
		}
		return question{kind: kind, lookup: mod}, err
	case kind == "tile":
		t, err := tlog.ParseTilePath(path)
		if err == nil && (t.H != tileHeight || t.L < 0) {
			err = fmt.Errorf("no tile %q: the go command reads hash tiles of height %d only", path, tileHeight)
		}
		return question{kind: kind, tile: t}, err
	}
	return question{}, fmt.Errorf("no path %q: want supported, latest, lookup/ or tile/", path)
}

// client returns the database that a path below /sumdb/ names and the rest of the
// path. Names may hold slashes; the longest that fits is meant.
func (d *Database) client(path string) (c *client, rest string) {
	for _, c := range d.clients {
		if rest, ok := strings.CutPrefix(path, c.name+"/"); ok {
			return c, rest
		}
	}
	return nil, ""
}

// ServeHTTP is the relay: /sumdb/NAME/supported, latest, lookup/… and tile/….
func (d *Database) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, _ := strings.CutPrefix(r.URL.Path, "/sumdb/")
	c, rest := d.client(path)
	if c == nil {
		refuse(w, http.StatusNotFound, "this checksum database is not relayed here",
			"set GOSUMDB to one of: "+strings.Join(d.Status().Names, ", "))
		return
	}
	q, err := parseQuestion(rest)
	if err != nil {
		refuse(w, http.StatusNotFound, err.Error(), "")
		return
	}
	if why := d.unasked(q.lookup.Path); q.kind == "lookup" && why != "" {
		try := "set GONOSUMDB=" + q.lookup.Path + `, or let gomirror do it: eval "$(gomirror env)"`
		if why == private && q.lookup.Path != strings.ToLower(q.lookup.Path) {
			// The pattern may have it in other letters, which only the go command tells apart.
			try = "gomirror config set private PATTERNS," + q.lookup.Path + `; eval "$(gomirror env)"`
		}
		refuse(w, http.StatusNotFound, q.lookup.Path+" is "+why+": the checksum database is not asked about it", try)
		return
	}
	ctx := withHops(r.Context(), strings.Join(r.Header.Values(upstream.HopHeader), ", "))
	contentType := "text/plain; charset=utf-8"
	var body []byte
	switch fork := c.forkErr(); {
	case q.kind == "supported":
		// Also of a forked database: the go command must not go around us to it.
	case fork != nil:
		err = fork
	case q.kind == "latest":
		body, err = c.latest(ctx)
	case q.kind == "lookup":
		var rec record
		if rec, err = c.lookupCtx(ctx, q.lookup, false); err == nil {
			body, err = c.stamped(rec)
		}
	case q.kind == "tile":
		contentType = "application/octet-stream"
		body, err = c.tile(ctx, q.tile)
	}
	if err != nil {
		answerError(w, err)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// private is why most of what is unasked is so.
const private = "private"

// unasked returns why no database is told the name of a module, or "". A go command
// with our environment asks about none of these.
func (d *Database) unasked(modPath string) string {
	switch {
	case d.opts.Private(modPath):
		return private
	case modPath != toolchainPath && module.MatchPrefixPatterns(d.opts.NoSumDB, modPath):
		return "in GONOSUMDB"
	}
	return ""
}

// latest returns the newest head, asking for one only if there is none.
func (c *client) latest(ctx context.Context) ([]byte, error) {
	newest, err := c.head.newest()
	if err == nil && newest.note == nil {
		newest, err = c.advance(ctx, 1)
	}
	return newest.note, err
}

// answerError answers an error of the database. "Not found" is kept for what is not
// there: the go command goes on to another proxy then.
func answerError(w http.ResponseWriter, err error) {
	code := http.StatusBadGateway
	var unreached *reachError
	var damaged *damagedError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		code = http.StatusNotFound
	case errors.As(err, &damaged):
		code = http.StatusInternalServerError
	case errors.Is(err, errOffline), errors.As(err, &unreached) && !unreached.answered:
		code = http.StatusGatewayTimeout
	}
	hint := ""
	var hinter interface{ Hint() string }
	if errors.As(err, &hinter) {
		hint = hinter.Hint()
	} else if errors.Is(err, errOffline) {
		hint = "start gomirror without --offline, and pull this once"
	}
	refuse(w, code, err.Error(), hint)
}

// refuse answers with a text that the go command shows: it takes at most 8 lines and
// 648 bytes of text/plain, and nothing that holds an unprintable rune
// (cmd/go/internal/web/api.go). An upstream that is a gomirror has a secret in its URL;
// it goes before the text is cut.
func refuse(w http.ResponseWriter, code int, cause, hint string) {
	const causeLimit = 400
	cause = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(redact.Text(cause), "?"))
	if len(cause) > causeLimit {
		cause = strings.ToValidUTF8(cause[:causeLimit], "") + "…"
	}
	if hint != "" {
		cause += "\ntry: " + redact.Text(hint)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	fmt.Fprintln(w, cause)
}
