package proxytest

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// bigModule makes a module whose zip has about size bytes. Its name decides which.
func bigModule(modPath, version string, size int) Module {
	h := fnv.New64a()
	h.Write([]byte(modPath + "@" + version))
	bytes := make([]byte, size)
	dice := rand.NewChaCha8([32]byte(h.Sum(make([]byte, 24))))
	dice.Read(bytes) // never fails
	_, name, _ := strings.Cut(modPath, "/")
	name = name[strings.LastIndex(name, "/")+1:]
	return Module{modPath, version, map[string]string{
		"go.mod": "module " + modPath + "\n\ngo 1.21\n",
		"go.go":  "package " + name + "\n\nconst Size = " + fmt.Sprint(size) + "\n",
		// Deflate takes back what base64 adds.
		"noise.txt": base64.StdEncoding.EncodeToString(bytes),
	}}
}

// AddForest makes n modules, serves them, and writes a project into dir that requires
// them all, as go mod tidy leaves it. Its zips are up to 144 KiB large times scale.
func (u *Upstream) AddForest(dir string, n, scale int) error {
	mods, files := forest(n, scale)
	for _, m := range mods {
		if err := u.add(m); err != nil {
			return err
		}
		if err := u.enroll(m); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// enroll puts a version into the database's log now. It would get there at its first
// lookup, and a log that grows while it is read costs each reader more.
func (u *Upstream) enroll(m Module) error {
	r, err := http.NewRequest(http.MethodGet, "/sumdb/"+u.db.Name+"/lookup/"+m.Path+"@"+m.Version, nil)
	if err != nil {
		return err
	}
	if rec := record(u, r); rec.code != http.StatusOK {
		return fmt.Errorf("look up %s@%s: %d %s", m.Path, m.Version, rec.code, rec.body.String())
	}
	return nil
}

// forest makes the modules and the files of the project. Like the real ones, modules require older versions of one another than
// the project does, so that there are more go.mod files to read than zips; a third of
// them are from before module pruning, whose requirements go must follow.
func forest(n, scale int) (mods []Module, files map[string]string) {
	var require, imports strings.Builder
	for i := range n {
		modPath := fmt.Sprintf("example.com/forest/m%02d", i)
		chosen := fmt.Sprintf("v1.%d.0", 1+i%5)
		// Most zips are small and a few are not.
		m := bigModule(modPath, chosen, 2<<10+scale*(i*i*i%7)*(i%5)*6<<10)
		var below strings.Builder
		for _, child := range []int{2*i + 1, 2*i + 2} {
			if child < n {
				fmt.Fprintf(&below, "\nrequire example.com/forest/m%02d v1.0.%d\n", child, i%2)
			}
		}
		m.Files["go.mod"] = fmt.Sprintf("module %s\n\ngo 1.%d\n%s", modPath, []int{16, 21, 20}[i%3], below.String())
		mods = append(mods, m)
		for old := range 2 {
			mods = append(mods, Module{modPath, fmt.Sprintf("v1.0.%d", old), map[string]string{
				"go.mod": m.Files["go.mod"], "go.go": m.Files["go.go"],
			}})
		}
		fmt.Fprintf(&require, "\t%s %s\n", modPath, chosen)
		fmt.Fprintf(&imports, "\t_ %q\n", modPath)
	}
	return mods, map[string]string{
		"go.mod":  "module example.com/project\n\ngo 1.21\n\nrequire (\n" + require.String() + ")\n",
		"main.go": "package main\n\nimport (\n" + imports.String() + ")\n\nfunc main() {}\n",
	}
}
