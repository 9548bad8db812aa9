package proxytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

// Module is one version to serve. Files has the contents by slash-separated path;
// without a go.mod the module is served with the one that the go command makes up.
type Module struct {
	Path, Version string
	Files         map[string]string
}

// released is the time of every version that is no pseudo-version: fixed, so that
// the same module has the same .info in every run.
func released() time.Time { return time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC) }

// answers is all that is known of a module path.
type answers struct {
	versions map[string]map[string]body // version -> extension -> body
	branches map[string]string          // branch or commit -> version
}

// answersFor returns the entry of modPath and makes it first; mu must be held.
func (u *Upstream) answersFor(modPath string) *answers {
	escaped, err := module.EscapePath(modPath)
	if err != nil {
		escaped = modPath // a path that no client can ask for
	}
	if u.mods[escaped] == nil {
		u.mods[escaped] = &answers{map[string]map[string]body{}, map[string]string{}}
	}
	return u.mods[escaped]
}

func (u *Upstream) add(m Module) error {
	var buf bytes.Buffer
	var files []zip.File
	for _, name := range sortedKeys(m.Files) {
		files = append(files, memFile{name, m.Files[name]})
	}
	v := module.Version{Path: m.Path, Version: m.Version}
	if err := zip.Create(&buf, v, files); err != nil {
		return err
	}
	goMod, ok := m.Files["go.mod"]
	if !ok {
		goMod = "module " + m.Path + "\n"
	}
	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{m.Version, timeOf(m.Version)})
	if err != nil {
		return err
	}
	bodies := map[string]body{".zip": newBody(".zip", buf.Bytes()), ".mod": newBody(".mod", []byte(goMod)), ".info": newBody(".info", info)}
	h1, modH1, err := hashes(buf.Bytes(), goMod)
	if err != nil {
		return err
	}
	u.db.vouch(v, h1, modH1)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answersFor(m.Path).versions[m.Version] = bodies
	return nil
}

// hashes returns what go.sum has for a zip and a go.mod.
func hashes(zipBody []byte, goMod string) (h1, modH1 string, err error) {
	// dirhash reads zips from files only.
	f, err := os.CreateTemp("", "proxytest-*.zip")
	if err != nil {
		return "", "", err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(zipBody)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", "", err
	}
	if h1, err = dirhash.HashZip(f.Name(), dirhash.Hash1); err != nil {
		return "", "", err
	}
	return h1, hashOfGoMod(goMod), nil
}

func hashOfGoMod(goMod string) string {
	h1, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(goMod)), nil
	})
	if err != nil {
		panic(err) // a string can be read
	}
	return h1
}

func timeOf(version string) time.Time {
	if t, err := module.PseudoVersionTime(version); err == nil {
		return t
	}
	return released()
}

// answer finds the body for an escaped proxy path.
func (u *Upstream) answer(urlPath string) (body, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	escaped, file, ok := strings.Cut(strings.TrimPrefix(urlPath, "/"), "/@")
	m := u.mods[escaped]
	if !ok || m == nil {
		return body{}, fmt.Errorf("no module %s here", escaped)
	}
	switch file {
	case "v/list":
		return newBody("list", []byte(m.list())), nil
	case "latest":
		v := m.latest()
		if v == "" {
			return body{}, fmt.Errorf("no version of %s here", escaped)
		}
		return m.versions[v][".info"], nil
	}
	name := strings.TrimPrefix(file, "v/")
	ext := path.Ext(name)
	version, err := module.UnescapeVersion(strings.TrimSuffix(name, ext))
	if err != nil {
		return body{}, err
	}
	if v, ok := m.branches[version]; ok && ext == ".info" {
		version = v
	}
	b, ok := m.versions[version][ext]
	if !ok {
		return body{}, fmt.Errorf("unknown revision %s of %s", version, escaped)
	}
	return b, nil
}

// list is what @v/list says: pseudo-versions are never in it.
func (m *answers) list() string {
	var b strings.Builder
	for _, v := range m.sorted() {
		if !module.IsPseudoVersion(v) {
			fmt.Fprintln(&b, v)
		}
	}
	return b.String()
}

// latest is the highest release, else the highest version of any kind.
func (m *answers) latest() string {
	var last string
	for _, v := range m.sorted() {
		if semver.Prerelease(v) == "" || last == "" || semver.Prerelease(last) != "" {
			last = v
		}
	}
	return last
}

func (m *answers) sorted() []string {
	vs := sortedKeys(m.versions)
	semver.Sort(vs)
	return vs
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// body is a healthy answer.
type body struct {
	name  string // what its Content-Type is by
	bytes []byte
	tag   string // a strong ETag
}

func newBody(name string, b []byte) body {
	return body{name, b, fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(b))[:16])}
}

func (u *Upstream) write(w http.ResponseWriter, r *http.Request, b body) {
	h := w.Header()
	switch path.Ext(b.name) {
	case ".zip":
		h.Set("Content-Type", "application/zip")
	case ".info":
		h.Set("Content-Type", "application/json")
	default:
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	u.give(w, r, b)
}

// memFile is a file of a module that is in memory only.
type memFile struct{ name, text string }

func (f memFile) Path() string                { return f.name }
func (f memFile) Lstat() (os.FileInfo, error) { return memInfo{f}, nil }
func (f memFile) Open() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(f.text)), nil
}

type memInfo struct{ f memFile }

func (i memInfo) Name() string       { return path.Base(i.f.name) }
func (i memInfo) Size() int64        { return int64(len(i.f.text)) }
func (i memInfo) Mode() fs.FileMode  { return 0o644 }
func (i memInfo) ModTime() time.Time { return released() }
func (i memInfo) IsDir() bool        { return false }
func (i memInfo) Sys() any           { return nil }
