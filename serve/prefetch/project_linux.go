package prefetch

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Running returns the projects in which this user's go commands run now, by the
// folders that they work in, see proc(5). Only go.mod and go.sum are read there.
func Running() []Project {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var projects []Project
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		proc := filepath.Join("/proc", e.Name())
		if comm, err := os.ReadFile(proc + "/comm"); err != nil || string(comm) != "go\n" || !ours(proc) {
			continue
		}
		// A process that ends meanwhile has nothing to be fetched for.
		dir, err := os.Readlink(proc + "/cwd")
		if err != nil {
			continue
		}
		project, err := readProject(dir)
		if err != nil {
			continue
		}
		project.Zips = wantsZips(arguments(proc))
		projects = append(projects, project)
	}
	return projects
}

// ours reports whether a process belongs to this user: a root's daemon has no business
// in the folders of others.
func ours(proc string) bool {
	info, err := os.Stat(proc)
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}

// arguments returns those of a process, without its name.
func arguments(proc string) []string {
	line, err := os.ReadFile(proc + "/cmdline")
	if err != nil {
		return nil
	}
	var args []string
	for arg := range bytes.SplitSeq(bytes.TrimSuffix(line, []byte{0}), []byte{0}) {
		args = append(args, string(arg))
	}
	return args[1:]
}
