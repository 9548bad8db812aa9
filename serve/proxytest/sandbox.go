package proxytest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// useGomirror does what eval "$(gomirror env)" does in a shell.
func useGomirror(ts *testscript.TestScript, neg bool, args []string) {
	fallback := len(args) == 1 && args[0] == "-fallback"
	if neg || len(args) > 0 && !fallback {
		ts.Fatalf("usage: use-gomirror [-fallback]")
	}
	ts.Check(ts.Exec("sh", "-c", `out=$(gomirror env) || exit 1; eval "$out"; env`))
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		switch k {
		case "GOPROXY":
			if end := strings.IndexAny(v, ",|"); end >= 0 && !fallback {
				// What stands behind us would hide that we did not answer.
				v = v[:end]
			}
			ts.Setenv(k, v)
		case "GONOPROXY", "GONOSUMDB", "GOPRIVATE", "GOSUMDB", "GOMIRROR_ORIG":
			ts.Setenv(k, v)
		}
	}
}

// unshare is the command line that runs a program in namespaces of its own. Users
// other than root become root in one of theirs.
func unshare(flags, script string) []string {
	if os.Geteuid() != 0 {
		flags += "r"
	}
	return []string{"unshare", flags, "sh", "-c", script + ` && exec "$@"`, "sh"}
}

// works tells why a program can't be run under wrap, or nil.
func works(wrap []string) error {
	if out, err := exec.Command(wrap[0], append(wrap[1:], "true")...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// Condition adds the condition [mounts]: whether own-mounts works here.
func Condition(name string) (bool, error) {
	if name == "mounts" {
		return works(unshare("-m", "true")) == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// netless runs a program in a network namespace in which only lo is up. Where the
// system has none, or does not let this user make one, the program runs in the open,
// for whom a dead upstream must be proof enough; CI does not accept that.
func netless(ts *testscript.TestScript, neg bool, args []string) {
	wrap := unshare("-n", "ip link set lo up")
	if err := works(wrap); err != nil {
		if os.Getenv("CI") != "" {
			ts.Fatalf("can't take the network away: %v", err)
		}
		ts.Logf("the network stays: %v", err)
		wrap = nil
	}
	execWrapped(ts, neg, wrap, args)
}

// ownMounts runs a program in a mount namespace of its own.
func ownMounts(ts *testscript.TestScript, neg bool, args []string) {
	execWrapped(ts, neg, unshare("-m", "true"), args)
}

func execWrapped(ts *testscript.TestScript, neg bool, wrap, args []string) {
	if len(args) == 0 {
		ts.Fatalf("no program to run")
	}
	argv := append(wrap, args...)
	if err := ts.Exec(argv[0], argv[1:]...); (err != nil) != neg {
		ts.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
}

// reap ends what a script left behind: processes that have its WORK in their
// environment. They are found where /proc shows environments; elsewhere a script
// that fails before its gomirror stop leaves a sidecar until the next boot.
//
// A sidecar shows its environment to root alone. To others its pid file tells it, if
// the process of that number is called as we are.
func reap(workDir string) {
	if text, err := os.ReadFile(filepath.Join(workDir, "h", "state", "gomirror", "pid")); err == nil && os.Geteuid() != 0 {
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // none: it has ended
		if p, findErr := os.FindProcess(pid); err == nil && findErr == nil && string(comm) == "gomirror\n" {
			p.Signal(syscall.SIGKILL)
		}
	}
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range environs {
		environ, err := os.ReadFile(name)
		if err != nil || !strings.Contains("\x00"+string(environ), "\x00WORK="+workDir+"\x00") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, err := os.FindProcess(pid); err == nil {
			p.Signal(syscall.SIGKILL)
		}
	}
}
