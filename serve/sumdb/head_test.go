package sumdb

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	u := newUser(db, d)
	latest, err := u.ReadRemote("/latest")
	if err != nil {
		t.Fatal(err)
	}
	if err := u.lookup(mod(1), mod(2)); err != nil {
		t.Fatal(err)
	}
	d.Close()
	places := map[string][]byte{"sent": latest, "user": u.latest, "newest": d.main.head.now.note}
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
