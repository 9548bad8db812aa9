//go:build unix

package cmd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sshRounds is how often each side pulls: what is to be seen is small.
const sshRounds = 41

// BenchmarkPrivateSSH has users with ssh and no token: their private modules go past
// gomirror, so a pull may take 1.05 of what it takes without gomirror. A script stands
// in for ssh.
func BenchmarkPrivateSSH(b *testing.B) {
	dir, err := os.MkdirTemp("", "ssh-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	for name, text := range map[string]string{
		"ssh":        "#!/bin/sh\nfor last; do :; done\ncd " + dir + " && exec sh -c \"$last\"\n",
		".gitconfig": "[url \"git@github.com:\"]\n\tinsteadOf = https://github.com/\n[safe]\n\tdirectory = *\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			b.Fatal(err)
		}
	}
	l := &privateLab{dir: dir}
	l.plain = []string{
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, "HOME=" + dir,
		"XDG_CONFIG_HOME=" + dir + "/config", "XDG_CACHE_HOME=" + dir + "/cache", "XDG_STATE_HOME=" + dir + "/state",
		"GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "GOTELEMETRY=off", "GOFLAGS=-modcacherw",
		"GOPROXY=direct", "GOPRIVATE=github.com/acme", "GIT_CONFIG_NOSYSTEM=1", "GIT_SSH_COMMAND=" + dir + "/ssh",
	}
	l.through = l.start(b, benchProgram(b, dir))
	l.sshModule(b)
	for b.Loop() {
		var plain, through []time.Duration
		for round := range sshRounds {
			pull := func(took *[]time.Duration, environ []string, side string) func() {
				return func() {
					cache := fmt.Sprintf("%s%d", side, round)
					*took = append(*took, l.run(b, environ, cache, "mod", "download", "github.com/acme/mod@v1.0.0"))
					os.RemoveAll(filepath.Join(dir, cache))
				}
			}
			inTurns(round, pull(&plain, l.plain, "plain"), pull(&through, l.through, "through"))
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(medianOf(plain)*1000, "plain-ms")
		b.ReportMetric(medianOf(through)/medianOf(plain), "through")
	}
}

// sshModule makes the repository that the script serves.
func (l *privateLab) sshModule(b *testing.B) {
	b.Helper()
	tree := filepath.Join(l.dir, "tree")
	if err := os.Mkdir(tree, 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "go.mod"), []byte("module github.com/acme/mod\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, command := range []string{
		"init -q -b main", "add .", "-c user.name=a -c user.email=a@example.com commit -qm one", "tag v1.0.0", "clone -q --bare . ../acme/mod",
	} {
		c := exec.Command("git", strings.Fields(command)...)
		c.Dir, c.Env = tree, l.plain
		if out, err := c.CombinedOutput(); err != nil {
			b.Fatalf("git %s: %v\n%s", command, err, out)
		}
	}
}
