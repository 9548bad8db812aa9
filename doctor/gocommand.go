package doctor

import (
	"context"
	"errors"
	"fmt"
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"
)

// setUp is what most faults in Go's variables end with.
const setUp = `eval "$(gomirror env)"`

// ForGo returns an environment in which the go command only tells things: it switches
// to no other toolchain, reads no work space, and counts nobody's runs, for which it
// would make files in the user's folder of settings.
func ForGo(environ []string) []string {
	return append(slices.Clone(environ), "GOTOOLCHAIN=local", "GOWORK=off",
		"TEST_TELEMETRY_DIR="+filepath.Join(os.DevNull, "none")) // cmd/internal/telemetry/counter
}

// oldestGo is the first go command that knows "|" in GOPROXY (go.dev/doc/go1.15).
const oldestGo = "go1.15"

// goChecks look at the variables of the go command: these break more pulls than
// networks do.
func goChecks(o Options) []Check {
	check := func(id string, look func(*Options, Go) []Finding) Check {
		return Check{id, "go", func(context.Context) []Finding {
			g := o.Go()
			if g.Err != nil {
				return say(Skipped, "", "go does not tell its settings, see E01 and E02")
			}
			return look(&o, g)
		}}
	}
	return []Check{
		{"E01", "go", func(context.Context) []Finding { return o.checkGo() }},
		{"E02", "go", func(context.Context) []Finding { return o.checkGoEnv() }},
		check("E03", (*Options).checkGOPROXY),
		check("E04", (*Options).checkGONOPROXY),
		check("E05", (*Options).checkBehind),
		check("E06", (*Options).checkDatabase),
		check("E07", (*Options).checkGoEnvFile),
		check("E08", (*Options).checkPatterns),
		{"E09", "go", o.checkGOFLAGS},
		check("E10", (*Options).checkEditors),
		{"E11", "go", func(context.Context) []Finding { return o.checkSettings() }},
	}
}

// checkGo looks for the go command itself.
func (o *Options) checkGo() []Finding {
	const install = "install Go 1.21+: https://go.dev/dl"
	g := o.Go()
	switch {
	case errors.Is(g.Err, exec.ErrDot):
		return say(Fail, `export PATH="`+filepath.Dir(absolute(g.Path))+`:$PATH"`, "PATH finds go by way of the current folder, where anybody's program could stand")
	case g.Path == "":
		return say(Fail, install, "there is no go command in PATH")
	case g.Err != nil:
		return say(OK, "", "go is at %s", g.Path)
	case version.IsValid(g.Now.GOVERSION) && version.Compare(g.Now.GOVERSION, oldestGo) < 0:
		return say(Fail, install, `%s at %s does not know "|" in GOPROXY, by which go goes on without gomirror`, g.Now.GOVERSION, g.Path)
	}
	return say(OK, "", "%s at %s", g.Now.GOVERSION, g.Path)
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// goVariable is a variable of Go's in an error of the go command.
var goVariable = regexp.MustCompile(`\b(GO[A-Z0-9]{2,}|GOMIRROR_ORIG)\b`)

// checkGoEnv looks whether the go command can tell what it uses, and whether it uses
// modules at all.
func (o *Options) checkGoEnv() []Finding {
	g := o.Go()
	switch {
	case g.Path == "":
		return say(Skipped, "", "there is no go command, see E01")
	case errors.Is(g.Err, context.DeadlineExceeded):
		return say(Fail, "GOTOOLCHAIN=local go env", "go env does not end: %v", g.Err)
	case g.Err != nil:
		fix, text := hintOf(g.Err, "go env"), g.Err.Error()
		if strings.Contains(text, "$HOME") || strings.Contains(text, "$XDG_CONFIG_HOME") {
			fix = "export HOME=/path/to/your/home" // not the variable whose default it would be
		} else if name := goVariable.FindString(text); name != "" {
			fix = o.unset(name)
		}
		return say(Fail, fix, "go env fails: %v", g.Err)
	case g.Now.GO111MODULE == "off":
		return say(Fail, o.unset("GO111MODULE"), "GO111MODULE=off: go uses no modules, so it pulls none")
	}
	return say(OK, "", "go env tells its settings")
}

// checkSettings looks whether gomirror can read its own.
func (o *Options) checkSettings() []Finding {
	if o.SettingsErr != nil {
		fix := hintOf(o.SettingsErr, "gomirror config list")
		if file, ok := strings.CutPrefix(fix, "edit "); ok && o.GOOS != "windows" {
			fix = "${EDITOR:-vi} " + quote(file)
		}
		return say(Fail, fix, "gomirror can't read its settings: %v", o.SettingsErr)
	}
	return say(OK, "", "the settings of gomirror can be read")
}

// fromShell reports whether a variable has its value from the environment: go reads
// its file where that is empty.
func (o *Options) fromShell(name string) bool { return o.Getenv(name) != "" }

// unset returns the command that takes a variable of Go's away, wherever it stands. It
// is meant for variables that gomirror env does not set.
func (o *Options) unset(name string) string {
	_, filed := o.Go().File[name]
	switch {
	case o.fromShell(name) && filed:
		return o.unsetInShell(name) + "; go env -u " + name
	case o.fromShell(name) || name == "GOMIRROR_ORIG":
		return o.unsetInShell(name)
	}
	return "go env -u " + name
}

func (o *Options) unsetInShell(name string) string {
	switch {
	case o.GOOS == "windows":
		return "Remove-Item Env:" + name
	case filepath.Base(o.Getenv("SHELL")) == "fish":
		return "set -e " + name
	}
	return "unset " + name
}

// assign returns the command that gives a variable of Go's another value where it has
// the present one from.
func (o *Options) assign(name, value string) string {
	switch {
	case value == "":
		return o.unset(name)
	case !o.fromShell(name):
		return "go env -w " + quote(name+"="+value)
	}
	return o.exported(name, value)
}

// exported is the command that gives a variable of this shell a value.
func (o *Options) exported(name, value string) string {
	if o.GOOS == "windows" {
		return fmt.Sprintf("$env:%s = '%s'", name, strings.ReplaceAll(value, "'", "''"))
	}
	return "export " + quote(name+"="+value)
}

// quote quotes for a POSIX shell what needs it. Patterns hold stars.
func quote(word string) string {
	name, value, ok := strings.Cut(word, "=")
	if !ok {
		name, value = "", word
	} else {
		name += "="
	}
	if regexp.MustCompile(`^[A-Za-z0-9_./:,@%+=-]*$`).MatchString(value) {
		return word
	}
	return name + "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// listed splits a list of patterns. "none" is how gomirror env says that there are
// none.
func listed(list string) []string {
	var out []string
	for p := range strings.SplitSeq(list, ",") {
		if p = strings.TrimSpace(p); p != "" && p != "none" {
			out = append(out, p)
		}
	}
	return out
}

// uncovered returns those of patterns of which a module may match none of by.
func uncovered(patterns, by []string) []string {
	globs := strings.Join(by, ",")
	return slices.DeleteFunc(slices.Clone(patterns), func(p string) bool {
		return slices.Contains(by, p) || !strings.ContainsAny(p, `*?[\`) && module.MatchPrefixPatterns(globs, p)
	})
}
