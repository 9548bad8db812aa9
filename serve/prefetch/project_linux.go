package prefetch

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const nonblock = syscall.O_NONBLOCK

// Running returns the projects in which this user's go commands run now, by the
// folders that they work in, see proc(5). Only go.mod and go.sum are read there. through
// tells from the GOPROXY in the command's environment whether it asks us; one that has
// none there may.
func Running(through func(goproxy string) bool) []Project {
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
		// The folder of a container's process is another one here.
		if !sameRoot(proc) {
			continue
		}
		env := variables(proc)
		if goproxy := env["GOPROXY"]; goproxy != "" && !through(goproxy) {
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
		for _, name := range []string{"GOPRIVATE", "GONOPROXY", "GONOSUMDB"} {
			project.Private = append(project.Private, strings.Split(env[name], ",")...)
		}
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

// sameRoot reports whether a process sees the file system as we do.
func sameRoot(proc string) bool {
	theirs, err := os.Readlink(proc + "/ns/mnt")
	own, ownErr := os.Readlink("/proc/self/ns/mnt")
	return err == nil && ownErr == nil && theirs == own
}

// arguments returns those of a process, without its name.
func arguments(proc string) []string {
	if args := fields(proc + "/cmdline"); len(args) > 0 {
		return args[1:]
	}
	return nil
}

// variables returns what a process was started with.
func variables(proc string) map[string]string {
	env := make(map[string]string)
	for _, field := range fields(proc + "/environ") {
		name, value, _ := strings.Cut(field, "=")
		env[name] = value
	}
	return env
}

// fields splits a file of strings that end in NUL.
func fields(name string) []string {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}
