package proxytest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/sync/errgroup"
)

// Build makes all files of the project and a database that vouches for them. It must
// come before anything that serves or writes them.
func (p *Project) Build() error {
	pool := newPool()
	lines := make([]string, len(p.releases))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, r := range p.releases {
		g.Go(func() error {
			h1, modH1, err := p.buildRelease(r, pool)
			lines[i] = goSumLines(r.Version, h1, modH1)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	records := make(map[module.Version]string)
	for i, r := range p.releases {
		records[r.Version] = lines[i]
	}
	var err error
	p.Database, err = newDeepDatabase(DatabaseName, records)
	return err
}

func (p *Project) buildRelease(r *release, pool *pool) (h1, modH1 string, err error) {
	goMod := r.goMod()
	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{r.Version.Version, timeOf(r.Version.Version)})
	if err != nil {
		return "", "", err
	}
	files := p.sources(r)
	if r.goLine != "-" {
		files["go.mod"] = goMod
	}
	zip, h1, err := pool.zip(r, files)
	if err != nil {
		return "", "", err
	}
	r.mod, r.info, r.zip = newBody(".mod", []byte(goMod)), newBody(".info", info), newBody(".zip", zip)
	return h1, hashOfGoMod(goMod), nil
}

// goMod is the text as the go command formats it.
func (r *release) goMod() string {
	var b strings.Builder
	fmt.Fprintf(&b, "module %s\n", r.Path)
	if r.goLine == "-" {
		return b.String()
	}
	if r.goLine != "0" {
		fmt.Fprintf(&b, "\ngo %s\n", r.goLine)
	}
	for _, mark := range []string{"", " // indirect"} {
		var lines []string
		for _, q := range r.require {
			if q.indirect == (mark != "") {
				lines = append(lines, q.Path+" "+q.Version.Version+mark)
			}
		}
		slices.Sort(lines)
		switch {
		case len(lines) == 1:
			fmt.Fprintf(&b, "\nrequire %s\n", lines[0])
		case len(lines) > 1:
			fmt.Fprintf(&b, "\nrequire (\n\t%s\n)\n", strings.Join(lines, "\n\t"))
		}
	}
	return b.String()
}

// sources are the Go files that are compiled: one package a module, small, so that a
// build's time is that of its downloads.
func (p *Project) sources(r *release) map[string]string {
	dir := p.folder(r.Path)
	files := map[string]string{dir + "lib.go": p.source(r.imports)}
	if len(r.others) > 0 {
		files[dir+"lib_plan9.go"] = p.source(r.others)
	}
	if len(r.tested) > 0 {
		files[dir+"lib_test.go"] = p.source(r.tested)
	}
	return files
}

func (p *Project) source(imports []string) string {
	var b strings.Builder
	b.WriteString("package lib\n")
	for _, modPath := range imports {
		fmt.Fprintf(&b, "\nimport _ %q", strings.TrimSuffix(modPath+"/"+p.folder(modPath), "/"))
	}
	return b.String() + "\n"
}

// folder is where the package of a module lies: "" or a path that ends in a slash.
func (p *Project) folder(modPath string) string {
	return strings.Repeat("pk/", p.depth[modPath])
}

// WriteMain writes the main module, whose go.mod is tidy and which has no go.sum.
func (p *Project) WriteMain(dir string) error {
	files := map[string]string{"go.mod": p.main.goMod()}
	const packages = 8
	for i := range packages {
		var imports []string
		for j := i; j < len(p.main.imports); j += packages {
			imports = append(imports, p.main.imports[j])
		}
		files[fmt.Sprintf("part%d/lib.go", i)] = p.source(imports)
	}
	files["part0/lib_plan9.go"] = p.source(p.main.others)
	files["part0/lib_test.go"] = p.source(p.main.tested)
	return writeFiles(dir, files)
}

// WriteTree writes what GOPROXY=file:// can read.
func (p *Project) WriteTree(dir string) error {
	lists := make(map[string]string)
	for _, r := range p.releases {
		modPath, err := module.EscapePath(r.Path)
		if err != nil {
			return err
		}
		version, err := module.EscapeVersion(r.Version.Version)
		if err != nil {
			return err
		}
		base := filepath.Join(dir, filepath.FromSlash(modPath), "@v")
		if !module.IsPseudoVersion(r.Version.Version) {
			lists[base] += r.Version.Version + "\n"
		}
		if err := writeFiles(base, map[string]string{
			version + ".mod":  string(r.mod.bytes),
			version + ".info": string(r.info.bytes),
			version + ".zip":  string(r.zip.bytes),
			"list":            lists[base],
		}); err != nil {
			return err
		}
	}
	return nil
}

func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err = cmp.Or(err, os.WriteFile(name, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// AddProject serves a project that has been built. The upstream must have been
// started with the project's database.
func (u *Upstream) AddProject(p *Project) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, r := range p.releases {
		u.answersFor(r.Path).versions[r.Version.Version] = map[string]body{".mod": r.mod, ".info": r.info, ".zip": r.zip}
	}
}
