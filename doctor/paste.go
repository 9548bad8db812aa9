package doctor

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/redact"
)

// Target is a module as somebody asks about it, or a package inside one.
type Target struct {
	Path    string   // of a module or of a package below it
	Version string   // version, branch or commit; "" for the latest
	Notes   []string // what was taken off, where that is more than a scheme
}

func (t Target) String() string {
	if t.Version == "" {
		return t.Path
	}
	return t.Path + "@" + t.Version
}

var (
	// scpForm is how git and GitHub write an address for ssh.
	scpForm = regexp.MustCompile(`^(?:[\w.-]+@)?([\w-]+(?:\.[\w-]+)+):([^/0-9].*)$`)

	// refFolder is what the pages of git hosts have between a repository and a ref.
	// GitLab puts a dash before it.
	refFolder = regexp.MustCompile(`^(?:-/)?(?:tree|blob|raw|src/branch|src/tag|src/commit|src|releases/tag|tags|commits?|archive/refs/tags|archive/refs/heads|archive)/(.+)$`)

	// pageFolder is a page about the repository that names no ref.
	pageFolder = regexp.MustCompile(`^(?:-/|issues|pulls?|discussions|actions|releases|tags|branches|commits|wiki|security|settings|graphs|network|activity|tree)(?:/|$)`)

	// documented is a page of a site that documents modules: a host behind a host. An
	// element like yaml.v3 is none.
	documented = regexp.MustCompile(`^[\w-]+(?:\.[\w-]+)+/(?:mod/)?(([\w-]+(?:\.[\w-]+)*\.[a-z]{2,})/.+)$`)

	// versionForm is the second field of a line of go.mod or go.sum.
	versionForm = regexp.MustCompile(`^v\d`)

	// bareVersion is a version without its v.
	bareVersion = regexp.MustCompile(`^\d+\.\d+(\.\d+)?([-+].*)?$`)

	// goWords are commands that people copy with what they name.
	goWords = regexp.MustCompile(`^(?:\$\s*)?(?:go\s+(?:get|install|mod\s+download|list(?:\s+-m)?)\s+)?(?:-[\w=.]+\s+)*(?:require\s+|import\s+)?`)
)

// ParseTarget reads a module as people paste it: a path, an address of a page, of a
// git repository or of a proxy's file, a line of go.mod, go.sum or of source, or a go
// get command.
func ParseTarget(text string) (Target, error) {
	pasted := strings.TrimSpace(text)
	rest := strings.TrimSpace(goWords.ReplaceAllString(pasted, ""))
	rest = strings.TrimRight(strings.Trim(rest, " \t\"'`<>()[],;"), "/.,;:\\")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return Target{}, fmt.Errorf("read %q: it names no module", pasted)
	}
	rest = strings.Trim(fields[0], "\"'`")
	version := ""
	if len(fields) > 1 && (strings.HasPrefix(fields[1], "v") || fields[1] == "latest") { // go.mod, go.sum
		version = strings.TrimSuffix(fields[1], "/go.mod")
	}
	if !slices.Contains(fields, "=>") { // of a replacement the first is meant
		for _, other := range fields[1:] {
			if strings.HasPrefix(other, "//") || strings.HasPrefix(other, "h1:") {
				break
			}
			if name, _, _ := strings.Cut(other, "@"); strings.Contains(name, "/") && !versionForm.MatchString(name) && checkTarget(name, name) == nil {
				return Target{}, fmt.Errorf("read %q: it names several modules, and one at a time can be explained", redact.Text(pasted))
			}
		}
	}
	t, err := parseAddress(rest)
	if err != nil {
		return Target{}, fmt.Errorf("read %q: %w", redact.Text(pasted), err)
	}
	if t.Version == "" {
		t.Version = version
	}
	if bareVersion.MatchString(t.Version) {
		t.Notes = append(t.Notes, fmt.Sprintf("a version begins with v: v%s, not %s", t.Version, t.Version))
		t.Version = "v" + t.Version
	}
	if t.Version == "latest" || t.Version == "upgrade" || t.Version == "patch" {
		t.Version = ""
	}
	if strings.ContainsFunc(t.Version, func(r rune) bool { return r <= ' ' || r == 0x7f }) || len(t.Version) > 250 {
		return Target{}, fmt.Errorf("read %q: that is no version", redact.Text(pasted))
	}
	return t, checkTarget(t.Path, pasted)
}

// parseAddress reads one word.
func parseAddress(word string) (t Target, err error) {
	if m := scpForm.FindStringSubmatch(word); m != nil && !strings.Contains(word, "://") {
		word = m[1] + "/" + m[2]
	}
	_, after, page := strings.Cut(word, "://")
	if page {
		if key, ok := proxyFile(after); ok {
			mod := key.Module()
			return Target{Path: mod.Path, Version: mod.Version}, nil
		}
		u, err := url.Parse(word)
		if err != nil {
			return t, fmt.Errorf("that is no address")
		}
		word = u.Hostname() + u.Path
	}
	word, _, _ = strings.Cut(word, "#")
	word, _, _ = strings.Cut(word, "?")
	if m := documented.FindStringSubmatch(word); page && m != nil && !strings.HasSuffix(m[2], ".git") {
		return parseDocumentation(m[1]), nil
	}
	if key, ok := proxyFile(word); ok {
		mod := key.Module()
		return Target{Path: mod.Path, Version: mod.Version}, nil
	}
	word, t.Version, _ = strings.Cut(strings.TrimPrefix(word, "www."), "@")
	word = strings.TrimSuffix(strings.TrimRight(word, "/"), "/...")
	host, below, _ := strings.Cut(path.Clean("/" + word)[1:], "/")
	t.Path = strings.ToLower(host)
	if below != "" {
		t.Path += "/" + below
	}
	return t.withoutPage(), nil
}

// parseDocumentation reads PATH[@VERSION][/PACKAGE].
func parseDocumentation(word string) Target {
	word = strings.TrimRight(word, "/")
	before, after, ok := strings.Cut(word, "@")
	if !ok {
		return Target{Path: word}
	}
	version, pkg, ok := strings.Cut(after, "/")
	if ok {
		before += "/" + pkg
	}
	return Target{Path: before, Version: version}
}

// longestFile is more than the escaped path and version of any module have: what the file
// system takes.
const longestFile = 4 << 10

// proxyFile reads the address of a file at a proxy, as errors of go have it: where the
// proxy's own path ends can be told by the host that begins the module's.
//
// An address may be as long as a stranger likes, and each of its elements may be that host.
func proxyFile(word string) (cache.Key, bool) {
	if !strings.Contains(word, "/@v/") && !strings.HasSuffix(word, "/@latest") {
		return cache.Key{}, false
	}
	_, word, _ = strings.Cut(word, "/") // the proxy's host
	for word != "" {
		first, rest, _ := strings.Cut(word, "/")
		if strings.Contains(first, ".") && len(word) <= longestFile {
			if key, err := cache.ParseKey(word); err == nil {
				return key, true
			}
		}
		word = rest
	}
	return cache.Key{}, false
}

// withoutPage takes off what belongs to the pages of a git host.
func (t Target) withoutPage() Target {
	parts := strings.Split(t.Path, "/")
	for i, part := range parts { // a repository ends with .git, if anywhere
		if name, ok := strings.CutSuffix(part, ".git"); ok && i > 1 && i == len(parts)-1 {
			t.Path = strings.Join(parts[:i], "/") + "/" + name
			break
		}
	}
	if len(parts) < 4 {
		return t
	}
	at := 3
	if i := strings.Index(t.Path, "/-/"); i > 0 { // GitLab's groups have groups
		at = strings.Count(t.Path[:i], "/") + 1
	}
	root, page := strings.Join(parts[:at], "/"), strings.Join(parts[at:], "/")
	switch m := refFolder.FindStringSubmatch(page); {
	case m != nil && isCodeHost(parts[0], page):
		ref, below, _ := strings.Cut(m[1], "/")
		if strings.Contains(page, "archive/") {
			ref = strings.TrimSuffix(strings.TrimSuffix(ref, ".tar.gz"), ".zip")
		}
		if below != "" && strings.Contains(path.Base(below), ".") {
			below = path.Dir(below) // a file
		}
		if t.Version == "" {
			t.Version = ref
		}
		t.Path = root
		if below != "" && below != "." {
			t.Path += "/" + below
		}
	case pageFolder.MatchString(page) && isCodeHost(parts[0], page):
		t.Path = root
	}
	return t
}

// isCodeHost reports whether the pages below a repository are of the forms known here.
// Elsewhere src or tree may be a folder of a module.
func isCodeHost(host, page string) bool {
	return strings.HasPrefix(page, "-/") || host == "github.com" || host == "bitbucket.org" ||
		host == "codeberg.org" || host == "gitlab.com" || strings.HasPrefix(host, "git.") || strings.HasPrefix(host, "github.")
}

// checkTarget tells what is wrong with a path.
func checkTarget(modPath, pasted string) error {
	first, _, _ := strings.Cut(modPath, "/")
	switch err := module.CheckImportPath(modPath); {
	case err != nil:
		return fmt.Errorf("read %q: %w", redact.Text(pasted), err)
	case !strings.Contains(first, "."):
		return fmt.Errorf("read %q: a module path begins with a host, and %q is none", redact.Text(pasted), first)
	}
	return nil
}
