package githosttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Repo is one bare repository of a [Host], with the folder its commits are made in.
type Repo struct {
	host    *Host
	bare    string // its git folder
	tree    string // its work tree
	commits int
}

// Repo makes the repository "github.com/acme/mod" and its first commit of files,
// file name to content, with the tags on it.
func (h *Host) Repo(t testing.TB, path string, files map[string]string, tags ...string) *Repo {
	t.Helper()
	h.mu.Lock()
	h.know(path)
	h.repos[strings.ToLower(path)] = path
	h.mu.Unlock()
	r := &Repo{host: h, bare: filepath.Join(h.dir, filepath.FromSlash(path)+".git"), tree: t.TempDir()}
	if err := os.MkdirAll(r.bare, 0o700); err != nil {
		t.Fatal(err)
	}
	r.Git(t, "init", "--quiet", "--initial-branch=main")
	// Hosts let clients fetch any commit by its hash; cmd/go relies on it.
	r.Git(t, "config", "uploadpack.allowAnySHA1InWant", "true")
	r.Commit(t, files, tags...)
	return r
}

// Commit makes the next commit on the current branch: files are written over what
// is there, a "" takes the file away. It returns the commit's hash.
func (r *Repo) Commit(t testing.TB, files map[string]string, tags ...string) string {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(r.tree, filepath.FromSlash(name))
		if content == "" {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.commits++
	r.Git(t, "add", "--all", "--force")
	r.Git(t, "commit", "--quiet", "--allow-empty", "--message", fmt.Sprint("commit ", r.commits))
	for _, tag := range tags {
		r.Git(t, "tag", "--force", tag)
	}
	return strings.TrimSpace(r.Git(t, "rev-parse", "HEAD"))
}

// Git runs a git command in the repository and returns what it prints.
func (r *Repo) Git(t testing.TB, args ...string) string {
	t.Helper()
	c := exec.Command("git", args...)
	c.Dir = r.tree
	c.Env = append(r.host.environ(),
		"GIT_DIR="+r.bare, "GIT_WORK_TREE="+r.tree,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		"GIT_AUTHOR_DATE="+r.when(), "GIT_COMMITTER_DATE="+r.when())
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// when dates the commits a minute apart from a fixed day, so that pseudo-versions
// are the same in every run.
func (r *Repo) when() string {
	return time.Date(2024, 2, 3, 4, r.commits, 0, 0, time.UTC).Format(time.RFC3339)
}

// environ is what our own git commands see: nothing of the user's.
func (h *Host) environ() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.home, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C"}
}
