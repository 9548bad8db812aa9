package doctor

import (
	"regexp"
	"runtime"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/gomirror/gomirror/cache"
)

var (
	// tryLine is the last line of gomirror's own replies, which go shows.
	tryLine = regexp.MustCompile(`(?m)^\s*try: (.+)$`)

	// majorPath is the path that go wants where a suffix is missing or too much.
	majorPath = regexp.MustCompile(`\("([^"]+)"\)`)

	wantedGo = regexp.MustCompile(`(?:requires go >= |it needs go )(\d+\.\d+(?:\.\d+)?)`)
)

// ours reports whether a hint in go's output is one that a sidecar gives. Any server
// can write such a line, so it may hold nothing of theirs: who copies a fix runs it.
func ours(hint, name string) bool {
	switch hint {
	case "gomirror doctor", "gomirror status", "gomirror auth login", "gomirror auth status", plainRestart,
		"gomirror stop && " + plainRestart, "gomirror refresh " + name, "gomirror refresh " + name + " --accept-moved":
		return module.CheckPath(strings.SplitN(name+"@", "@", 2)[0]) == nil && plainWord.MatchString(name)
	}
	return ssoPage.MatchString(hint)
}

// ssoPage is where GitHub has a token authorised for an organisation.
var ssoPage = regexp.MustCompile(`^open https://github\.com/orgs/[\w.-]+/sso(\?authorization_request=[\w%=.~-]+)?( and then again)?$`)

// plainWord is what means nothing to any shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./@+~!-]*$`)

// goGet is the command that takes another path, which a stranger's go.mod may have
// named; "" if that is none.
func goGet(path, version string) string {
	target := Target{Path: path, Version: version}.String()
	if module.CheckPath(path) != nil || !plainWord.MatchString(target) || strings.HasPrefix(path, "-") {
		return ""
	}
	return "go get " + target
}

// inGoMod is the command that requires another version in a go.mod that go itself can't
// read any more; "" if a shell might take the names for more.
func inGoMod(path, version, newPath, newVersion string) string {
	was, is := path+" "+version, newPath+" "+newVersion
	if !plainWord.MatchString(strings.ReplaceAll(was+is, " ", "")) {
		return ""
	}
	if runtime.GOOS == "windows" {
		return "notepad go.mod"
	}
	return "sed -i.bak 's|" + was + "|" + is + "|' go.mod && go mod tidy"
}

// fixOfText is the one command for what go complains of, as far as its text tells.
func fixOfText(c Complaint) string {
	name := Target{Path: c.Module, Version: c.Version}.String()
	if m := tryLine.FindStringSubmatch(c.Text); m != nil && ours(m[1], name) {
		return runnable(runtime.GOOS, m[1])
	}
	switch c.Verdict {
	case CaseMismatch, PathMismatch, MajorSuffix:
		if m := badRequire.FindStringSubmatch(c.Text); m != nil {
			return inGoMod(m[1], m[2], m[1]+"/"+semver.Major(m[2]), m[2])
		}
		if m := declared.FindStringSubmatch(c.Text); m != nil {
			return goGet(m[1], c.Version)
		}
		if m := majorPath.FindStringSubmatch(c.Text); m != nil && pathOK(m[1]) {
			return goGet(m[1], c.Version)
		}
	case GoTooOld:
		if m := wantedGo.FindStringSubmatch(c.Text); m != nil {
			return "go get go@" + m[1]
		}
		if strings.Contains(c.Text, "toolchain not available") { // so no go command can load the go.mod that wants it
			return `GOTOOLCHAIN=local go mod edit -toolchain=none -go="$(GOTOOLCHAIN=local go env GOVERSION | sed 's/^go//')"`
		}
	case GoSettings:
		return fixOfSetting(c.Text)
	}
	if c.Module == "" {
		name = ""
	}
	return fixOf(c.Verdict, name)
}

// fixOfSetting names the variable or flag that is in the way.
func fixOfSetting(text string) string {
	switch {
	case strings.Contains(text, "GOPROXY=off"):
		return "unset GOPROXY; go env -u GOPROXY; " + setUp
	case strings.Contains(text, "vendor"):
		return "go mod vendor"
	case strings.Contains(text, "GOVCS"):
		return "go env -w GOVCS='public:git|hg,private:all'"
	case strings.Contains(text, "GO111MODULE"):
		return "unset GO111MODULE; go env -u GO111MODULE"
	}
	return "gomirror doctor --only go"
}

// fixOf is the one command for a verdict, where nothing better is known. name is the
// module, "" if that is not known either.
func fixOf(v Verdict, name string) string {
	modPath, _, _ := strings.Cut(name, "@")
	ask := "gomirror doctor " + name
	if name == "" {
		ask = "gomirror doctor"
	}
	switch v {
	case Fine, Retracted:
		return ""
	case BadVersion, MajorSuffix, CaseMismatch, PathMismatch:
		if name != "" {
			return "go list -m -versions " + modPath
		}
	case AuthMissing, AuthExpired, NoAccess:
		return "gomirror auth login" + hostname(modPath)
	case AuthSSO:
		return "gomirror doctor --only auth"
	case RateLimited:
		return "sleep 60"
	case NetDNS, NetTCP, NetTLS, NetProxy:
		return "gomirror doctor --only network"
	case UpstreamError:
		return "sleep 60; " + ask
	case ChecksumMismatch:
		if name == "" {
			return "go mod verify"
		}
	case ZipInvalid:
		modPath, version, _ := strings.Cut(name, "@")
		if k, err := cache.NewKey(modPath, version, cache.Zip); err == nil && plainWord.MatchString(name) {
			return dropZip(runtime.GOOS, k)
		}
		return "go mod verify"
	case LeakRisk:
		return setUp
	case Moved:
		if name != "" {
			return "gomirror refresh " + name
		}
	case GoTooOld:
		return "go get go@latest"
	case GoSum:
		return "go mod tidy"
	case NotRunning:
		return plainRestart
	case OfflineMode:
		return "gomirror config set offline false; " + plainRestart
	case LocalFault:
		return "gomirror doctor --only storage"
	}
	return ask
}

// hostname is the flag of auth login for the host of a module.
func hostname(modPath string) string {
	host, _, _ := strings.Cut(modPath, "/")
	if host == "" || host == "github.com" {
		return ""
	}
	return " --hostname " + host
}
