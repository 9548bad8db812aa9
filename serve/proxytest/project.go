package proxytest

import (
	_ "embed" // the shapes
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/module"
)

// The shapes of two real projects. Prefetch is tuned on A and never on B.
var (
	//go:embed project_a.txt
	projectA string
	//go:embed project_b.txt
	projectB string
)

// Project is a main module and all that the go command may ask for when it works on
// it: some hundred modules whose graph, sizes and numbers of files are those of a
// real project, whose contents are made up.
//
// A shape is lines of text. "PATH VERSION…" names versions, which are numbered from 0
// in base 36, as are paths. A blank line ends them; "main" or the number of a version
// starts each of the others, followed by the go line ("0" means a go.mod without one,
// "-" no go.mod) and fields of one letter:
//
//	zBYTES/FILES/TEXT  what its zip holds, packed and unpacked
//	dN                 its package lies N folders deep
//	iPATH,…            imported by its package
//	oPATH,…            imported on another operating system only
//	tPATH,…            imported by its tests
//	rVERSION,…         required, with ~ for // indirect
//
// Versions without such a line were never asked for in the real project.
type Project struct {
	Database *Database

	main     *release
	paths    []string
	releases []*release
	depth    map[string]int // by path: how many folders deep the package lies
}

// release is one version of a module of a project.
type release struct {
	module.Version
	goLine                  string
	bytes, files, text      int // of the zip; 0 means as small as can be
	imports, others, tested []string
	require                 []requirement

	mod, info, zip body
}

type requirement struct {
	*release
	indirect bool
}

// ProjectPath is the path of the main module of each project.
const ProjectPath = "h99.example/project"

// NewProject makes set "A" or "B". scale is by what the zips are made smaller: 1 for
// the real sizes.
func NewProject(set string, scale int) (*Project, error) {
	shape, ok := map[string]string{"A": projectA, "B": projectB}[set]
	if !ok {
		return nil, fmt.Errorf("no project %q: want A or B", set)
	}
	p := &Project{depth: make(map[string]int)}
	if err := p.parse(shape); err != nil {
		return nil, fmt.Errorf("read the shape of project %s: %w", set, err)
	}
	for _, r := range p.releases {
		r.bytes, r.text, r.files = r.bytes/scale, r.text/scale, min(r.files, r.files/scale+2)
	}
	return p, nil
}

func (p *Project) parse(shape string) error {
	names, details, _ := strings.Cut(shape, "\n\n")
	for line := range strings.Lines(names) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		p.paths = append(p.paths, fields[0])
		for _, v := range fields[1:] {
			r := &release{Version: module.Version{Path: fields[0], Version: v}, goLine: "1.17"}
			if strings.HasSuffix(v, "+incompatible") {
				r.goLine = "-"
			}
			p.releases = append(p.releases, r)
		}
	}
	for line := range strings.Lines(details) {
		fields := strings.Fields(line)
		r := &release{Version: module.Version{Path: ProjectPath}}
		if fields[0] == "main" {
			p.main = r
		} else {
			n, err := number(fields[0], len(p.releases))
			if err != nil {
				return err
			}
			r = p.releases[n]
		}
		r.goLine = fields[1]
		for _, field := range fields[2:] {
			if err := p.parseField(r, field[0], field[1:]); err != nil {
				return fmt.Errorf("%s of %s: %w", field[:1], fields[0], err)
			}
		}
	}
	return nil
}

func (p *Project) parseField(r *release, kind byte, value string) error {
	var err error
	switch kind {
	case 'z':
		_, err = fmt.Sscanf(value, "%d/%d/%d", &r.bytes, &r.files, &r.text)
	case 'd':
		p.depth[r.Path], err = strconv.Atoi(value)
	case 'i':
		r.imports, err = p.pathList(value)
	case 'o':
		r.others, err = p.pathList(value)
	case 't':
		r.tested, err = p.pathList(value)
	case 'r':
		for id := range strings.SplitSeq(value, ",") {
			id, indirect := strings.CutPrefix(id, "~")
			n, err := number(id, len(p.releases))
			if err != nil {
				return err
			}
			r.require = append(r.require, requirement{p.releases[n], indirect})
		}
	default:
		return fmt.Errorf("unknown field %q", kind)
	}
	return err
}

func (p *Project) pathList(value string) ([]string, error) {
	var list []string
	for id := range strings.SplitSeq(value, ",") {
		n, err := number(id, len(p.paths))
		if err != nil {
			return nil, err
		}
		list = append(list, p.paths[n])
	}
	return list, nil
}

func number(id string, limit int) (int, error) {
	n, err := strconv.ParseUint(id, 36, 32)
	if err == nil && int(n) >= limit {
		err = fmt.Errorf("number %s of %d", id, limit)
	}
	return int(n), err
}

// Cut drops all requirements of the main module but the first n direct ones and what
// their packages import: a smaller project that is as tidy as the whole.
func (p *Project) Cut(n int) {
	keep := make(map[string]bool)
	byPath := make(map[string]*release)
	for _, q := range p.main.require {
		byPath[q.Path] = q.release
	}
	var add func(paths []string)
	add = func(paths []string) {
		for _, modPath := range paths {
			if keep[modPath] {
				continue
			}
			keep[modPath] = true
			add(byPath[modPath].imports)
			add(byPath[modPath].others)
		}
	}
	p.main.imports = p.main.imports[:min(n, len(p.main.imports))]
	p.main.others, p.main.tested = nil, nil
	add(p.main.imports)
	p.main.require = slices.DeleteFunc(p.main.require, func(q requirement) bool { return !keep[q.Path] })
	for i, q := range p.main.require {
		p.main.require[i].indirect = q.indirect || !slices.Contains(p.main.imports, q.Path)
	}
}

// Modules is the number of requirements of the main module.
func (p *Project) Modules() int { return len(p.main.require) }
