package upstream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/mod/module"
)

// OriginError is what a module's origin, or the go command that asked it, says in
// place of an answer.
type OriginError struct {
	Module module.Version
	Text   string // at most 6 printable lines

	kind  originKind
	cause error // of connections that did not come about; nil if the origin has spoken
	why   error // the host's own account, in place of Text; or nil
}

// originKind sorts what go and git say.
type originKind uint8

const (
	originFault   originKind = iota // time-outs, DNS, TLS, the disk: nothing is known about the module
	originMissing                   // there is no such module or version
	originAuth                      // it does not exist, or it is private: hosts don't tell strangers which
)

func (e *OriginError) Error() string {
	s := fmt.Sprintf("fetch %s from its origin: ", e.Module)
	if e.why != nil {
		return s + e.why.Error()
	}
	if e.cause != nil {
		return s + e.cause.Error() + "\n" + e.Text
	}
	return s + e.Text
}

// Unwrap makes [Unreachable] see a dial that failed, and callers a host's account.
func (e *OriginError) Unwrap() error {
	if e.why != nil {
		return e.why
	}
	return e.cause
}

// Is makes an origin's "no such module or version", and nothing else, "not found".
func (e *OriginError) Is(target error) bool {
	return target == fs.ErrNotExist && e.kind == originMissing
}

// NeedsAuth reports whether the origin wants to know who asks.
func (e *OriginError) NeedsAuth() bool { return e.kind == originAuth }

// Hint tells the one thing to do, or nothing.
func (e *OriginError) Hint() string {
	var hinted interface{ Hint() string }
	switch {
	case errors.As(e.why, &hinted):
		return hinted.Hint()
	case e.kind == originAuth:
		return "check the spelling of " + e.Module.Path + "; if it is private, it needs a token"
	case errors.As(e.cause, new(*refusedError)):
		var refused *refusedError
		errors.As(e.cause, &refused)
		return refused.Hint()
	}
	return ""
}

// faults are what a text says when nothing was learned about the module. They count
// before all else: git's last line is often "repository not found" after one.
var faults = regexp.MustCompile(`(?i)timed? ?out|timeout|no such host|could not resolve|connection (refused|reset)|failed to connect|` +
	`i/o |x509|certificate|\btls\b|\bssl\b|too slow|early eof|unexpected disconnect|hung up|rpc failed|temporary failure|` +
	`too many requests|\b429\b|\b5\d\d\b.*(error|unavailable|gateway|server)|returned error: 5\d\d|` +
	`executable file not found|no space left|permission denied|read-only file system|input/output error|cannot allocate|` +
	`connect tunnel failed|proxy|bad gateway|: forbidden$`)

// auths are the words of hosts and of git that ask who is there.
var auths = regexp.MustCompile(`(?i)could not read (username|password)|terminal prompts disabled|authentication failed|` +
	`returned error: 40[13]|\b401 unauthorized|\b403 forbidden`)

// missings are the go command's words, and git's, for what does not exist.
var missings = regexp.MustCompile(`(?i)unknown revision|no matching versions for query|repository '[^']*' not found|repository not found|` +
	`\b404 not found|\b410 gone|returned error: 4(04|10)\b|no go-import meta tags|no commits|` +
	`invalid github\.com import path|malformed module path|missing \S+/go\.mod( and \S+/go\.mod)? at revision|` +
	`go\.mod has (non-|post-)\S* ?module path|module contains a go\.mod file, so module path must match|` +
	`invalid version: (should be|must be|module contains|go\.mod|missing|resolves to|tag|major|does not|revision)`)

// explain makes a developer's error of what a child left behind. said is the error
// that it printed as JSON, which counts more than stderr.
func (d *Direct) explain(ctx context.Context, mod module.Version, err error, said string) error {
	var exit *exitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("fetch %s from its origin: %w", mod, err)
	}
	if said == "" {
		said = exit.stderr
	}
	if said == "" {
		said = exit.err.Error()
	}
	if strings.Contains(said, ".lock': File exists") {
		d.heal() // another process's git was killed; the next try finds the way clear
	}
	said = strings.ReplaceAll(said, d.opts.VCSDir, "") // nobody is to look there
	e := &OriginError{Module: mod, Text: originText(mod, said)}
	switch {
	case auths.MatchString(said) && exit.failed == nil:
		e.kind = originAuth
	case exit.failed != nil, faults.MatchString(withoutModule(mod, said)):
		e.cause = exit.failed
	case missings.MatchString(said):
		e.kind = originMissing
	}
	d.account(ctx, e, exit, said)
	return e
}

// withoutModule takes the module's own name out, which an attacker chose.
func withoutModule(mod module.Version, text string) string {
	text = strings.ReplaceAll(text, mod.Path, "")
	if mod.Version != "" {
		text = strings.ReplaceAll(text, mod.Version, "")
	}
	return text
}

var (
	ansiEscape = regexp.MustCompile("\x1b(\\[[0-9;?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)?)")
	gitCommand = regexp.MustCompile(`git [a-z-]+ .* in \S*cache/vcs/[0-9a-f]{64}: exit status \d+:`)
)

const (
	// originLines and originColumns keep an error within what the go command shows
	// of a proxy's text, 8 lines and 648 bytes, with room for the hint.
	originLines   = 6
	originColumns = 160
)

// originText makes what go and git print readable: no colours, no paths of ours, no
// repetition of the module's name.
func originText(mod module.Version, text string) string {
	text = ansiEscape.ReplaceAllString(text, "")
	text = gitCommand.ReplaceAllString(text, "git:")
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.Map(func(r rune) rune {
			switch {
			case r == '\t':
				return ' '
			case !unicode.IsGraphic(r) || r == unicode.ReplacementChar:
				return -1
			}
			return r
		}, line)
		line = strings.TrimPrefix(strings.TrimSpace(line), "go: ")
		for _, name := range []string{mod.String(), mod.Path, "module " + mod.Path} {
			line = strings.TrimPrefix(line, name+": ")
		}
		line = strings.TrimPrefix(line, "invalid version: ")
		if line == "" {
			continue
		}
		if runes := []rune(line); len(runes) > originColumns {
			line = string(runes[:originColumns]) + "…"
		}
		if len(lines) == originLines-1 { // the last is the cause more often than the first few
			lines[originLines-2] = line
			continue
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// needsGoError is a module whose go line asks for a newer go command than there is.
type needsGoError struct {
	mod        module.Version
	want, have string
	cause      error
}

func (e *needsGoError) Error() string {
	return fmt.Sprintf("fetch %s from its origin: it needs go %s, this machine has go %s: %v", e.mod, e.want, e.have, e.cause)
}

func (e *needsGoError) Unwrap() error { return e.cause }

// Hint tells the one thing to do.
func (e *needsGoError) Hint() string {
	return "install go " + e.want + " or newer, then run gomirror again"
}

// needsGoText is how go mod download words it.
var needsGoText = regexp.MustCompile(`requires go >= (\S+) \(running go ([^\s;)]+)`)

// needsGo reads the go command's complaint about a go line.
func needsGo(text string) (want, have string, ok bool) {
	m := needsGoText.FindStringSubmatch(text)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}
