package proxytest

import (
	_ "embed" // the fixtures
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

//go:embed fixtures.txtar
var fixtureArchive string

// Fixtures returns modules of every shape that the go command treats differently:
// the comment of fixtures.txtar lists them.
func Fixtures() []Module {
	files := make(map[string]string)
	for _, f := range txtar.Parse([]byte(fixtureArchive)).Files {
		files[f.Name] = string(f.Data)
	}
	return append(group(files), deepGraph(30)...)
}

// group makes modules of files that are named "MODULE@VERSION/FILE".
func group(files map[string]string) []Module {
	var mods []Module
	at := make(map[string]int) // index in mods by "MODULE@VERSION"
	for _, name := range sortedKeys(files) {
		modPath, rest, _ := strings.Cut(name, "@")
		version, file, _ := strings.Cut(rest, "/")
		id := modPath + "@" + version
		if _, ok := at[id]; !ok {
			at[id] = len(mods)
			mods = append(mods, Module{modPath, version, make(map[string]string)})
		}
		mods[at[id]].Files[file] = files[name]
	}
	return mods
}

// filesIn reads a folder into memory, by slash-separated path.
func filesIn(dir string) (map[string]string, error) {
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(name)
		files[filepath.ToSlash(rel)] = string(text)
		return err
	})
	return files, err
}

// deepGraph makes n modules example.com/deep/m00 … of which each requires the next
// two, so that nothing below m00 is known before the one above it is read.
func deepGraph(n int) []Module {
	var mods []Module
	for i := range n {
		modPath := fmt.Sprintf("example.com/deep/m%02d", i)
		var require, imports, calls strings.Builder
		for j := i + 1; j <= i+2 && j < n; j++ {
			fmt.Fprintf(&require, "require example.com/deep/m%02d v1.0.%d\n", j, j)
			fmt.Fprintf(&imports, "import \"example.com/deep/m%02d\"\n", j)
			fmt.Fprintf(&calls, " + m%02d.Depth*0", j)
		}
		mods = append(mods, Module{modPath, fmt.Sprintf("v1.0.%d", i), map[string]string{
			"go.mod":  fmt.Sprintf("module %s\n\ngo 1.21\n\n%s", modPath, require.String()),
			"deep.go": fmt.Sprintf("package m%02d\n\n%s\nvar Depth = %d%s\n", i, imports.String(), i, calls.String()),
		}})
	}
	return mods
}
