//go:build unix

package doctor_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/doctor"
)

// TestNoGit takes git away from a machine that needs it, and from one that does not.
func TestNoGit(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	m.mkdir("tools")
	for _, tool := range []string{"go", "sh", "find"} {
		path, err := exec.LookPath(tool)
		if err == nil {
			err = os.Symlink(path, m.path("tools", tool))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	whole := m.vars["PATH"]
	m.vars["PATH"] = m.path("bin") + ":" + m.path("tools")
	if f := m.diagnose("N02 warn")["N02"].Findings[0]; !strings.Contains(f.Text, "there is no git") || f.Fix == "" {
		t.Errorf("got %+v", f)
	}
	m.vars["GOPRIVATE"] = "github.com/acme"
	if f := m.diagnose("N02 fail")["N02"].Findings[0]; !strings.Contains(f.Text, "there is no git") || f.Fix == "" {
		t.Errorf("with a private pattern: got %+v", f)
	}
	m.vars["PATH"] = whole
	m.diagnose("N02 ok")
}

func TestGitConfig(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	m.vars["GOPRIVATE"] = "github.com/acme"
	m.diagnose("N02 ok")

	// As many people log in, and as some write down what they should not.
	m.run(`git config --global url.git@github.com:.insteadOf https://github.com/
git config --global url.https://ann:` + canary + `@github.com/.insteadOf https://github.com/
git config --global credential.helper store`)
	reports := m.diagnose("N02 ok")
	detail := strings.Join(reports["N02"].Findings[0].Detail, "\n")
	for _, want := range []string{"git takes git@github.com: for https://github.com/", "git takes https://github.com/ for https://github.com/", "git asks store for passwords"} {
		if !strings.Contains(detail, want) {
			t.Errorf("got the details %q, want %q", detail, want)
		}
	}
	if strings.Contains(reports["N02"].said(), "CANARY") {
		t.Errorf("the token is told: %s", reports["N02"].said())
	}

	m.run(`git config --global --add credential.helper '!f() { echo username=ann; echo password=glpat-CANARY; }; f'
git config --global --add credential.helper '/opt/helper --token=CANARY'`)
	if r := m.diagnose("N02 ok")["N02"]; strings.Contains(r.said(), "CANARY") || !strings.Contains(r.said(), "git asks store, a script of yours, /opt/helper for passwords") {
		t.Errorf("of helpers with secrets it says %s", r.said())
	}

	m.run(`git config --global url.https://relay.example/https://github.com/.insteadOf https://github.com/`)
	m.cure("N02", doctor.Warn, "git asks https://relay.example/https://github.com/ in place of github.com", "git config --global --unset-all ")

	m.run(`cp .gitconfig good; echo '[broken' >> .gitconfig`)
	if f := m.diagnose("N02 warn")["N02"].Findings[0]; !strings.Contains(f.Text, "bad config line") || f.Fix != "${EDITOR:-vi} "+m.path(".gitconfig") {
		t.Errorf("got %+v", f)
	}
	m.run(`cp good .gitconfig`)
	m.diagnose("N02 ok")
}

// TestGitVersions has programs that say they are git of some version.
func TestGitVersions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		said, goos string
		want       doctor.Status
		detail     bool // that the distribution may have mended it
	}{
		{"git version 2.50.1", "linux", doctor.OK, false},
		{"git version 2.51.0", "darwin", doctor.OK, false},
		{"git version 3.0.0", "darwin", doctor.OK, false},
		{"git version 2.43.7", "darwin", doctor.OK, false},
		{"git version 2.43.6", "darwin", doctor.Warn, false},
		{"git version 2.44.4.windows.1", "windows", doctor.OK, false},
		{"git version 2.50.0.windows.1", "windows", doctor.Warn, false},
		{"git version 2.39.5 (Apple Git-154)", "darwin", doctor.Warn, false},
		{"git version 2.39.5", "linux", doctor.OK, true},
		{"git version 2.9.10", "linux", doctor.Fail, false},
		{"git version 2.31.8", "linux", doctor.Fail, false},
		{"xcode-select: note: no developer tools were found", "darwin", doctor.Fail, false},
	}
	for _, test := range tests {
		git := filepath.Join(t.TempDir(), "git")
		script := "#!/bin/sh\ncase $1 in --version) echo '" + test.said + "';; esac\n"
		if err := os.WriteFile(git, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		o := doctor.Options{
			GOOS: test.goos, Private: []string{"github.com/acme"}, Environ: os.Environ,
			Go: func() doctor.Go { return doctor.Go{} }, Daemon: func() doctor.Daemon { return doctor.Daemon{} },
			LookPath: func(string) (string, error) { return git, nil },
			Exec: func(ctx context.Context, dir string, environ []string, name string, args ...string) ([]byte, error) {
				c := exec.CommandContext(ctx, name, args...)
				c.Dir, c.Env = dir, environ
				return c.Output()
			},
		}
		found := runCheck(t, o, "N02")
		if len(found) != 1 || found[0].Status != test.want || strings.Contains(strings.Join(found[0].Detail, ""), "CVE-2025-48384") != test.detail ||
			(found[0].Fix == "") != (test.want == doctor.OK) {
			t.Errorf("%s on %s: got %+v, want %s", test.said, test.goos, found, test.want)
		}
		o.LookPath = func(string) (string, error) { return "", errors.New("no git") }
		if found := runCheck(t, o, "N02"); found[0].Status != doctor.Fail || found[0].Fix == "" {
			t.Errorf("none on %s: got %+v", test.goos, found)
		}
		o.GOOS = "linux"
		o.LookPath = func(name string) (string, error) {
			if name == "dnf" {
				return "/usr/bin/dnf", nil
			}
			return "", errors.New("no " + name)
		}
		if found := runCheck(t, o, "N02"); found[0].Fix != "sudo dnf install -y git" {
			t.Errorf("with dnf alone the fix is %s", found[0].Fix)
		}
	}
}
