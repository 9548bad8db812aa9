package sumdb

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// TestPaddedHead has a relay add what it likes to a genuine head: none of it is kept, in
// memory or on disk, or sent on.
func TestPaddedHead(t *testing.T) {
	const name = "padding.example.com"
	pad := "— " + name + " " + base64.StdEncoding.EncodeToString(make([]byte, 9000)) + "\n"
	db := newTestDB(t, "sum.example.com")
	db.grow(t, 300)
	db.lie(func(path string, body []byte) []byte {
		if strings.HasPrefix(path, "/lookup/") || path == "/latest" {
			body = append(bytes.Clone(body), pad...)
		}
		return body
	})
	s := newSetup(t, db)
	d := s.open(t)
	d.main.stamps.audited = time.Now() // not now: it would write while we look
	u := newUser(db, d)
	latest, err := u.ReadRemote("/latest")
	if err != nil {
		t.Fatal(err)
	}
	if err := u.lookup(mod(1), mod(2)); err != nil {
		t.Fatal(err)
	}
	d.Close()
	newest, err := d.main.head.newest()
	if err != nil {
		t.Fatal(err)
	}
	places := map[string][]byte{"sent": latest, "user": u.latest, "newest": newest.note}
	d.main.mu.Lock()
	for mod, rec := range d.main.known {
		places["known "+mod.Path] = rec.format()
		if cap(rec.text) > 2*len(rec.text) {
			t.Errorf("known %s: %d bytes are kept for %d", mod.Path, cap(rec.text), len(rec.text))
		}
	}
	d.main.mu.Unlock()
	d.main.head.openMu.Lock()
	for key, opened := range d.main.head.opened {
		places["opened "+key] = append([]byte(key), opened.note...)
	}
	d.main.head.openMu.Unlock()
	err = filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		places[path], err = os.ReadFile(path)
		return err
	})
	if err != nil || len(places) < 8 {
		t.Errorf("looked at %d places, %v", len(places), err)
	}
	for place, data := range places {
		if bytes.Contains(data, []byte(name)) || len(data) == 0 && !strings.HasSuffix(place, "lock") {
			t.Errorf("got %.300q in %.30q", data, place)
		}
	}
}

// TestHugeHead refuses signed heads that would keep us busy for ever.
func TestHugeHead(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	signer, err := note.NewSigner(db.skey)
	if err != nil {
		t.Fatal(err)
	}
	h := newSetup(t, db).open(t).main.head
	for _, tc := range []struct {
		name, more string
		size       int64
		want       bool
	}{
		{"as large as may be", "", maxRecords, true},
		{"too large", "", maxRecords + 1, false},
		{"where tlog never ends", "", 1 << 62, false},
		{"largest number", "", 1<<63 - 1, false},
		{"a line more", "since: today\n", 300, true},
		{"a long text", strings.Repeat("since: today\n", 1000), 300, false},
	} {
		text := string(tlog.FormatTree(tlog.Tree{N: tc.size})) + tc.more
		msg, err := note.Sign(&note.Note{Text: text}, signer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.open(msg); (err == nil) != tc.want {
			t.Errorf("%s: got %v, want taken %v", tc.name, err, tc.want)
		}
	}
}
