package doctor

import (
	"regexp"

	"github.com/gomirror/gomirror/cache"
)

// browse is the command that opens a page: where a network wants a sign-in, a plain
// http address leads to it.
func browse(goos, page string) string {
	command := "xdg-open"
	switch goos {
	case "darwin":
		command = "open"
	case "windows":
		command = "start"
	}
	return command + " " + quoted(page)
}

// openHint is how other packages say that a page has to be visited, wherever they run.
var openHint = regexp.MustCompile(`^open (https://\S+)( and then again)?$`)

// runnable makes a command for this system of a hint.
func runnable(goos, hint string) string {
	if m := openHint.FindStringSubmatch(hint); m != nil {
		return browse(goos, m[1])
	}
	return hint
}

// lookAgain is the fix of what mends itself, or somebody else has to mend.
const lookAgain = "sleep 60; gomirror doctor --only N01"

// program returns the command that installs a program from the system's own packages.
func (o *Options) program(name string) string {
	for _, tool := range []struct{ name, command string }{
		{"apt-get", "apt-get install -y "}, {"dnf", "dnf install -y "}, {"apk", "apk add "}, {"pacman", "pacman -S --noconfirm "},
		{"zypper", "zypper install -y "}, {"pkg", "pkg install -y "},
	} {
		if _, err := o.lookPath(tool.name); err == nil {
			return "sudo " + tool.command + name
		}
	}
	return "sudo apt-get install -y " + name
}

// dropZip takes a zip that is none out of go's module cache, and pulls it anew. What go
// has of other versions stays.
func dropZip(goos string, k cache.Key) string {
	mod := k.Module()
	pull := "go mod download " + Target{Path: mod.Path, Version: mod.Version}.String()
	if goos == "windows" {
		return "go clean -modcache; " + pull
	}
	// Single quotes: to bash an escaped capital, "!b", is a word of its history.
	return `(cd "$(go env GOMODCACHE)/cache/download" && rm -f '` + k.String() + `' '` + k.String() + `hash') && ` + pull
}

// dropSum takes what go.sum has of a version's zip out, and pulls it anew.
func dropSum(modPath, version string) string {
	return `grep -vF "` + modPath + " " + version + ` h1:" go.sum >go.sum.new && mv go.sum.new go.sum && go mod download ` + modPath + "@" + version
}
