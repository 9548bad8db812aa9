package proxytest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// buildProject makes a part of a set with small zips.
func buildProject(t *testing.T, set string, direct int) *Project {
	t.Helper()
	p, err := NewProject(set, 300)
	if err != nil {
		t.Fatal(err)
	}
	if direct > 0 {
		p.Cut(direct)
	}
	if err := p.Build(); err != nil {
		t.Fatal(err)
	}
	return p
}

// A project is of use only if the go command finds it tidy and whole, by a database
// that knows it.
func TestProjectIsTidy(t *testing.T) {
	for _, set := range []string{"A", "B"} {
		t.Run(set, func(t *testing.T) {
			p := buildProject(t, set, 4)
			u := New(t, Options{TLS: true, Database: p.Database})
			u.AddProject(p)
			dir := t.TempDir()
			if err := p.WriteMain(dir); err != nil {
				t.Fatal(err)
			}
			before := readFile(t, filepath.Join(dir, "go.mod"))
			for _, args := range [][]string{{"mod", "tidy"}, {"mod", "verify"}, {"vet", "./..."}} {
				c := exec.Command("go", args...)
				c.Dir = dir
				c.Env = append(os.Environ(), "GOPROXY="+u.URL, "SSL_CERT_FILE="+u.CAFile, "GOSUMDB="+u.SumDBKey(), "GONOSUMDB=", "GONOPROXY=",
					"GOPRIVATE=", "GOFLAGS=-modcacherw", "GOPATH="+filepath.Join(dir, "gopath"), "GOMODCACHE=", "GOTOOLCHAIN=local", "GOWORK=off")
				if out, err := c.CombinedOutput(); err != nil {
					t.Fatalf("go %v: %v\n%s", args, err, out)
				}
			}
			if got := readFile(t, filepath.Join(dir, "go.mod")); got != before {
				t.Errorf("go mod tidy made %s\nof %s", got, before)
			}
			if n := u.Counts().Bytes["sumdb"]; n == 0 {
				t.Errorf("the database was not asked")
			}
		})
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The sizes are what the figures of the benchmark rest on.
func TestProjectSizes(t *testing.T) {
	pool := newPool()
	for _, set := range []string{"A", "B"} {
		p, err := NewProject(set, 1)
		if err != nil {
			t.Fatal(err)
		}
		if p.Modules() < 150 {
			t.Errorf("set %s has %d modules, want 150 or more", set, p.Modules())
		}
		total, want := 0, 0
		for _, r := range p.releases {
			if r.bytes == 0 || r.bytes > 300_000 {
				continue
			}
			entries := pool.entries(r, p.sources(r))
			total, want = total+packedSize(entries), want+r.bytes
		}
		if total < want*9/10 || total > want*11/10 {
			t.Errorf("zips of set %s have %d bytes, want %d", set, total, want)
		}
	}
}

// Zips are put together from packed pieces; x/mod/zip says whether they are sound.
func TestProjectZips(t *testing.T) {
	p := buildProject(t, "A", 0)
	for _, r := range p.releases[:60] {
		name := filepath.Join(t.TempDir(), "m.zip")
		if err := os.WriteFile(name, r.zip.bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		v := module.Version{Path: r.Path, Version: r.Version.Version}
		if _, err := zip.CheckZip(v, name); err != nil {
			t.Errorf("%s: %v", v, err)
		}
		if err := zip.Unzip(filepath.Join(t.TempDir(), "m"), v, name); err != nil {
			t.Errorf("%s: %v", v, err)
		}
		h1, modH1, err := hashes(r.zip.bytes, string(r.mod.bytes))
		if err != nil {
			t.Fatal(err)
		}
		line, err := p.Database.gosum(r.Path, r.Version.Version)
		if err != nil || !bytes.Equal(line, []byte(goSumLines(v, h1, modH1))) {
			t.Errorf("the database has %s for %s, %v", line, v, err)
		}
	}
}

// A second project of the same set has the same bytes: figures of different days can
// be compared.
func TestProjectIsTheSameEachTime(t *testing.T) {
	p, q := buildProject(t, "B", 0), buildProject(t, "B", 0)
	for i, r := range p.releases {
		if r.zip.tag != q.releases[i].zip.tag {
			t.Errorf("%s has other bytes the second time", r.Version)
		}
	}
	if _, err := NewProject("C", 1); err == nil {
		t.Error("there is a project C")
	}
}
