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

// goCache asks the go command where its build cache is, before a script's HOME
// hides it.
func goCache() (string, error) {
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		return "", fmt.Errorf("ask go env GOCACHE: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

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

// netless runs a program in a network namespace in which only lo is up. Where the
// system has none, or does not let this user make one, the program runs in the open,
// for whom a dead upstream must be proof enough; CI does not accept that.
func netless(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: netless PROGRAM ARG…")
	}
	unshare := []string{"unshare", "-n"}
	if os.Geteuid() != 0 {
		unshare = []string{"unshare", "-rn"}
	}
	wrap := append(unshare, "sh", "-c", `ip link set lo up && exec "$@"`, "netless")
	if out, err := exec.Command(wrap[0], append(wrap[1:], "true")...).CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			ts.Fatalf("can't take the network away (%v): %s", err, out)
		}
		ts.Logf("the network stays: %v %s", err, out)
		wrap = nil
	}
	argv := append(wrap, args...)
	err := ts.Exec(argv[0], argv[1:]...)
	if (err != nil) != neg {
		ts.Fatalf("netless %s: %v", strings.Join(args, " "), err)
	}
}

// reap ends what a script left behind: processes that have its WORK in their
// environment. They are found where /proc shows environments; elsewhere a script
// that fails before its gomirror stop leaves a sidecar until the next boot.
func reap(workDir string) {
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
