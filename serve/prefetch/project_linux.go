package prefetch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const nonblock = syscall.O_NONBLOCK

// Running returns the projects in which this user's go commands run now that have a
// connection to the local TCP port, by the folders that they work in, see proc(5). Only
// go.mod and go.sum are read there. through tells from the GOPROXY in the command's
// environment whether it asks us; one that has none there may.
func Running(through func(goproxy string) bool, port int) []Project {
	sockets := connected(port)
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
		// One that has all it needs asks nobody, and nothing is to be fetched for it.
		if !holds(proc, sockets) {
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
		project.Zips, project.Few = wantsZips(arguments(proc))
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

// connected returns the sockets of this machine that are connected to a local port, as
// the links in /proc/PID/fd have them. Nil means that they can't be told.
func connected(port int) map[string]bool {
	var sockets map[string]bool
	remote := fmt.Sprintf(":%04X", port)
	for _, name := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // a machine without IPv6 has the first alone
		}
		if sockets == nil {
			sockets = make(map[string]bool)
		}
		for line := range strings.Lines(string(text)) {
			// sl local_address rem_address st queues timer retransmits uid timeout inode
			if f := strings.Fields(line); len(f) > 9 && strings.HasSuffix(f[2], remote) {
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	return sockets
}

// holds reports whether a process has one of the sockets open.
func holds(proc string, sockets map[string]bool) bool {
	entries, err := os.ReadDir(proc + "/fd")
	if err != nil || sockets == nil {
		return err == nil
	}
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		link, err := os.Readlink(proc + "/fd/" + e.Name())
		return err == nil && sockets[link]
	})
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
