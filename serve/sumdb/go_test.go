package sumdb

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/dirhash"
)

// tinyProxy is a module proxy that has every version of example.com/tiny… and relays
// checksum databases.
type tinyProxy struct{ sumdb http.Handler }

func (p tinyProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/sumdb/") {
		p.sumdb.ServeHTTP(w, r)
		return
	}
	modPath, file, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/@v/")
	version, kind := strings.TrimSuffix(file, filepath.Ext(file)), filepath.Ext(file)
	switch {
	case !ok || !strings.HasPrefix(modPath, "example.com/tiny"):
		http.NotFound(w, r)
	case kind == ".info":
		json.NewEncoder(w).Encode(map[string]string{"Version": version})
	case kind == ".mod":
		io.WriteString(w, testMod(modPath))
	case kind == ".zip":
		w.Write(tinyZip(modPath, version, tinyText))
	}
}

const tinyText = "package tiny\n"

func tinyZip(modPath, version, text string) []byte {
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for name, text := range map[string]string{"go.mod": testMod(modPath), "tiny.go": text} {
		f, _ := z.Create(modPath + "@" + version + "/" + name)
		io.WriteString(f, text)
	}
	z.Close()
	return buf.Bytes()
}

// tinySum is the record of a tiny module.
func tinySum(t *testing.T) func(modPath, version string) ([]byte, error) {
	return func(modPath, version string) ([]byte, error) {
		file := filepath.Join(t.TempDir(), "zip")
		if err := os.WriteFile(file, tinyZip(modPath, version, tinyText), 0o600); err != nil {
			return nil, err
		}
		h1, err := dirhash.HashZip(file, dirhash.Hash1)
		return fmt.Appendf(nil, "%s %s %s\n%s %s/go.mod %s\n", modPath, version, h1, modPath, version, testModSum(modPath)), err
	}
}

// TestGoCommand downloads with the real go command, and again with the database gone
// and all forgotten that go knows.
func TestGoCommand(t *testing.T) {
	t.Parallel()
	db := newTestDB(t, "sum.example.com/team/db")
	db.log = sumdb.NewTestServer(db.skey, tinySum(t))
	s := newSetup(t, db)
	d := s.open(t)
	proxy := httptest.NewServer(tinyProxy{d})
	defer func() { proxy.Close() }()
	home := t.TempDir()
	download := func(mods ...module.Version) (string, error) {
		args := []string{"mod", "download", "-json"}
		for _, mod := range mods {
			args = append(args, mod.String())
		}
		cmd := exec.Command("go", args...)
		cmd.Dir = filepath.Join(home, "empty")
		if err := os.MkdirAll(cmd.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(os.Environ(),
			"HOME="+home, "GOPATH="+home+"/gopath", "GOMODCACHE="+home+"/modcache", "GOCACHE="+home+"/gocache",
			"GOENV=off", "GOTOOLCHAIN=local", "GOWORK=off", "GOFLAGS=-modcacherw", "GO111MODULE=on",
			"GOPROXY="+proxy.URL, "GOSUMDB="+db.vkey, "GONOSUMDB=", "GONOPROXY=none", "GOPRIVATE=")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	var mods []module.Version
	for i := range 3 {
		mods = append(mods, module.Version{Path: fmt.Sprintf("example.com/tiny%d", i), Version: "v1.0.0"})
		if out, err := download(mods[i]); err != nil {
			t.Fatalf("online: %v\n%s", err, out)
		}
		db.grow(t, 300)
	}
	d.Close()
	db.Close()
	for _, tc := range []struct {
		name   string
		forget []string
	}{
		{"go clean -modcache", []string{"modcache"}},
		{"and all that go knows of the database", []string{"modcache", "gopath"}},
	} {
		for _, dir := range tc.forget {
			if err := os.RemoveAll(filepath.Join(home, dir)); err != nil {
				t.Fatal(err)
			}
		}
		d = s.open(t)
		proxy.Close()
		proxy = httptest.NewServer(tinyProxy{d})
		if out, err := download(mods...); err != nil {
			t.Errorf("%s: %v\n%s", tc.name, err, out)
		}
	}
	// What was never looked up can't be had now, and go says why.
	out, err := download(module.Version{Path: "example.com/tiny9", Version: "v1.0.0"})
	if err == nil || !strings.Contains(out, "ask checksum database "+db.name) || !strings.Contains(out, "try: gomirror doctor") {
		t.Errorf("got %v\n%s", err, out)
	}
}
