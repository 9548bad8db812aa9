package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gomirror/gomirror/serve/upstream"
)

// gitCheck looks at git, which fetches private modules and all that no proxy has.
func gitCheck(o Options) Check {
	return Check{"N02", "network", o.checkGit}
}

// gitApart is the first version that takes all of the settings which keep gomirror's
// clones apart from the user's own (GIT_CONFIG_GLOBAL, git's notes of 2.32).
const gitApart = "2.32"

// gitMended are the versions since which, in each line, a submodule's path can't make
// git run code (CVE-2025-48384); a line not named here has no mended one.
func gitMended() []string {
	return []string{"2.43.7", "2.44.4", "2.45.4", "2.46.4", "2.47.3", "2.48.2", "2.49.1", "2.50.1"}
}

func (o *Options) checkGit(ctx context.Context) []Finding {
	private := o.privatePatterns()
	needed := len(private) > 0 || upstream.Strip(o.Upstreams()) == "direct"
	git, err := o.lookPath("git")
	if err != nil {
		if needed {
			return say(Fail, o.installGit(), "there is no git, and without it neither go nor gomirror fetches from where modules come from")
		}
		return say(Warn, o.installGit(), "there is no git: what no upstream has can't be fetched directly")
	}
	// Without its settings, which are looked at by themselves.
	said, err := o.Exec(ctx, "/", append(slices.Clone(o.Environ()), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull), git, "--version")
	version := gitVersion(string(said))
	if err != nil || version == "" {
		return say(Fail, o.installGit(), "%s does not run: %v", git, cmp.Or(err, errors.New("it does not tell its version")))
	}
	if olderThan(version, gitApart) {
		status := Warn
		if needed {
			status = Fail
		}
		return say(status, o.upgradeGit(), "git %s is older than %s, and does not keep gomirror's fetches apart from your own settings", version, gitApart)
	}
	finding := Finding{Status: OK, Text: "git " + version}
	if !mended(version) {
		const risk = "a module with submodules can make it run code (CVE-2025-48384)"
		if o.GOOS != "linux" {
			return say(Warn, o.upgradeGit(), "git %s is old: %s", version, risk)
		}
		// Distributions mend it and keep the number.
		finding.Detail = append(finding.Detail, "unless your distribution has mended it, "+risk+": "+o.upgradeGit())
	}
	found, detail := o.judgeGitConfig(ctx, git, private)
	if found != nil {
		return found
	}
	finding.Detail = append(finding.Detail, detail...)
	return []Finding{finding}
}

func (o *Options) lookPath(name string) (string, error) {
	if o.LookPath != nil {
		return o.LookPath(name)
	}
	return exec.LookPath(name)
}

// privatePatterns are all that somebody calls private: this shell or the sidecar.
func (o *Options) privatePatterns() []string {
	own := o.Go().Own
	all := slices.Concat(o.Private, o.Daemon().Status.Private, strings.Split(own.GOPRIVATE+","+own.GONOPROXY, ","))
	return slices.DeleteFunc(all, func(p string) bool { return strings.TrimSpace(p) == "" || p == "none" })
}

func (o *Options) installGit() string {
	switch o.GOOS {
	case "darwin":
		return "xcode-select --install"
	case "windows":
		return "winget install --id Git.Git"
	}
	return o.program("git")
}

func (o *Options) upgradeGit() string {
	switch o.GOOS {
	case "darwin":
		return "brew install git"
	case "windows":
		return "git update-git-for-windows"
	}
	return o.program("git")
}

var gitVersionForm = regexp.MustCompile(`^git version (\d+(?:\.\d+)+)`)

// gitVersion reads "git version 2.39.5 (Apple Git-154)" and its like.
func gitVersion(said string) string {
	m := gitVersionForm.FindStringSubmatch(said)
	if m == nil {
		return ""
	}
	return m[1]
}

// numbers splits a version. Only digits and dots come here.
func numbers(version string) []int {
	var list []int
	for field := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(field)
		list = append(list, n)
	}
	return list
}

func olderThan(a, b string) bool { return slices.Compare(numbers(a), numbers(b)) < 0 }

func mended(version string) bool {
	lines := gitMended()
	for _, since := range lines {
		if line := numbers(since)[:2]; slices.Equal(numbers(version)[:2], line) {
			return !olderThan(version, since)
		}
	}
	return !olderThan(version, lines[len(lines)-1])
}

// judgeGitConfig reads what git is told about hosts. gomirror's own fetches do not see
// it; those of the go command do, where gomirror is down or a pattern is kept from it.
func (o *Options) judgeGitConfig(ctx context.Context, git string, private []string) (found []Finding, detail []string) {
	if _, err := o.Exec(ctx, "/", o.Environ(), git, "config", "--list", "--name-only"); err != nil {
		return say(Warn, o.editGitConfig(err), "git can't read its own settings: %v", err), nil
	}
	// They end with 1 where nothing is set.
	rules, _ := o.Exec(ctx, "/", o.Environ(), git, "config", "--get-regexp", `^url\..*\.insteadof$`)
	helper, _ := o.Exec(ctx, "/", o.Environ(), git, "config", "-z", "--get-all", "credential.helper")
	for line := range strings.Lines(string(rules)) {
		name, from, _ := strings.Cut(strings.TrimSpace(line), " ")
		to := strings.TrimSuffix(strings.TrimPrefix(name, "url."), ".insteadof")
		detail = append(detail, fmt.Sprintf("git takes %s for %s", bare(to), bare(from)))
		if host := hostOf(from); host != "" && elsewhere(to, host) && namesHost(private, host) {
			fix := fmt.Sprintf("git config --global --unset-all %s", quoted("url."+to+".insteadOf"))
			if bare(to) != to {
				fix = "git config --global --edit"
			}
			return say(Warn, fix, "git asks %s in place of %s, and so would tell it the names of private modules", bare(to), host), nil
		}
	}
	var helpers []string
	for one := range strings.SplitSeq(string(helper), "\x00") {
		if name := helperName(one); name != "" && !slices.Contains(helpers, name) {
			helpers = append(helpers, name)
		}
	}
	if len(helpers) > 0 {
		return nil, append(detail, "git asks "+strings.Join(helpers, ", ")+" for passwords")
	}
	return nil, append(detail, "git has nobody to ask for passwords, which matters only to what go fetches past gomirror")
}

// editGitConfig opens the file of settings that git can't read. git itself would not: it
// reads them first.
func (o *Options) editGitConfig(err error) string {
	_, file, named := strings.Cut(err.Error(), " in file ")
	switch {
	case !named:
		return "git config --global --edit"
	case o.GOOS == "windows":
		return "notepad " + quote(file)
	}
	return "${EDITOR:-vi} " + quote(file)
}

// helperName is the program of a credential helper. What follows it may be a secret, and
// one that begins with "!" is a script of the user's, which often is.
func helperName(helper string) string {
	if strings.HasPrefix(helper, "!") {
		return "a script of yours"
	}
	name, _, _ := strings.Cut(strings.TrimSpace(helper), " ")
	return bare(name)
}

// bare is a URL of git's without the password that some people write into it.
func bare(text string) string {
	u, err := url.Parse(text)
	if err != nil && strings.Contains(text, "://") {
		return hideProxyUser(text) // what is none may be so for its password
	}
	if err != nil {
		return text // HOST:PATH, as ssh has it
	}
	if u.User == nil {
		return text
	}
	if _, has := u.User.Password(); has || u.Scheme == "https" {
		u.User = nil
	}
	return u.String()
}

// hostOf returns the host of an https address, "" of any other.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return u.Hostname()
}

// elsewhere reports whether a rule of insteadOf leads to another host by http. That to
// the same one by ssh is how many people log in.
func elsewhere(to, host string) bool {
	other := hostOf(to)
	return other != "" && !strings.EqualFold(other, host)
}

func namesHost(patterns []string, host string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		first, _, _ := strings.Cut(strings.TrimSpace(p), "/")
		return strings.EqualFold(first, host)
	})
}
