package doctor

import (
	"regexp"
	"strings"
)

var (
	// tryLine is the last line of gomirror's own replies, which go shows.
	tryLine = regexp.MustCompile(`(?m)^\s*try: (.+)$`)

	// majorPath is the path that go wants where a suffix is missing or too much.
	majorPath = regexp.MustCompile(`\("([^"]+)"\)`)

	wantedGo = regexp.MustCompile(`(?:requires go >= |it needs go )(\d+\.\d+(?:\.\d+)?)`)
)

// fixOfText is the one command for what go complains of, as far as its text tells.
func fixOfText(c Complaint) string {
	name := Target{Path: c.Module, Version: c.Version}.String()
	if m := tryLine.FindStringSubmatch(c.Text); m != nil {
		return m[1]
	}
	switch c.Verdict {
	case CaseMismatch, PathMismatch, MajorSuffix:
		if m := declared.FindStringSubmatch(c.Text); m != nil {
			return "go get " + Target{Path: m[1], Version: c.Version}.String()
		}
		if m := majorPath.FindStringSubmatch(c.Text); m != nil && pathOK(m[1]) {
			return "go get " + Target{Path: m[1], Version: c.Version}.String()
		}
	case GoTooOld:
		if m := wantedGo.FindStringSubmatch(c.Text); m != nil {
			return "go get go@" + m[1]
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
	case NetDNS, NetTCP, NetTLS, NetProxy, UpstreamError:
		return "gomirror doctor --only network"
	case ChecksumMismatch, ZipInvalid:
		return "go clean -modcache"
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
		return restart
	case OfflineMode:
		return "gomirror config set offline false && gomirror stop && " + restart
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
