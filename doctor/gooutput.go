package doctor

import (
	"bufio"
	"io"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/serve/redact"
)

// Complaint is one error in what the go command printed.
type Complaint struct {
	Module  string // "" if it names none; may be a package
	Version string
	Text    string // what go said, without secrets
	Verdict Verdict
	Fix     string
}

const (
	outputLimit    = 1 << 20 // of what is read: go prints some kB
	complaintLimit = 20      // a thousand imports of one module that is missing are one fault
	textLimit      = 2000
)

var (
	// moduleAt is a module in go's words. A path has a host with a dot.
	moduleAt = regexp.MustCompile(`\b([A-Za-z0-9][\w-]*(?:\.[\w-]+)+(?:/[\w.~+!-]+)*)@([\w.+/~-]*[\w+~])`)

	// moduleIn is a path without a version, where go names one.
	moduleIn = regexp.MustCompile(`(?:module|package|path|imports|provides|import|for|get|public|private)\s+"?([A-Za-z0-9][\w-]*(?:\.[\w-]+)+(?:/[\w.~+-]*[\w~+-])+)`)

	// pathAlone is one at the begin of a line: "github.com/x/y: cannot find module".
	pathAlone = regexp.MustCompile(`(?m)^(?:go: |\s+)?([A-Za-z0-9][\w-]*(?:\.[\w-]+)+(?:/[\w.~+-]*[\w~+-])+)(?::| |$)`)

	// newComplaint begins one.
	newComplaint = regexp.MustCompile(`^(?:go: |go(?:\.exe)? |verifying |package |build |error |go\.mod:\d|[^\s:]+\.go:\d+|[^\s@:]+\.[^\s@:]+/\S+@\S+:)`)

	// progress is no complaint.
	progress = regexp.MustCompile(`^(?:go: (?:downloading|extracting|finding|found|added|upgraded|downgraded|removed|creating|to add|selected|switching|upgrading)\b|#|ok\s|\?\s|PASS|FAIL\b|---)`)

	place = regexp.MustCompile(`^[^\s:]+\.go:\d+(?::\d+)?: `)

	// badRequire is a line of go.mod whose path and version do not go together, so that
	// go reads nothing of the file.
	badRequire = regexp.MustCompile(`go\.mod:\d[\d:]*: require (\S+): version "(v[\w.+-]+)" invalid: should be`)

	serverText = regexp.MustCompile(`\n\s*server response:`)
)

// ReadGoOutput finds what the go command complains of in what it printed, be that its
// usual text or the JSON of go mod download -json. Complaints that say the same of the
// same module are one.
func ReadGoOutput(r io.Reader) ([]Complaint, error) {
	var all []Complaint
	seen := make(map[string]bool)
	add := func(block string) {
		c, ok := complaint(block)
		key := c.Module + "@" + c.Version + " " + string(c.Verdict)
		if !ok || seen[key] || len(all) >= complaintLimit {
			return
		}
		seen[key] = true
		all = append(all, c)
	}
	var block strings.Builder
	end := func() { add(block.String()); block.Reset() }
	read := func(line string) {
		switch {
		case progress.MatchString(line), ended.MatchString(line):
			end()
		case newComplaint.MatchString(line):
			end()
			fallthrough
		case block.Len() > 0 && block.Len() < textLimit && !member.MatchString(line):
			block.WriteString(line + "\n")
		case block.Len() == 0 && isAround(line):
			block.WriteString(line + "\n")
		}
	}
	lines := bufio.NewReader(io.LimitReader(r, outputLimit))
	for {
		line, err := lines.ReadString('\n')
		if err != nil && err != io.EOF {
			return nil, err
		}
		line = strings.TrimRight(strings.TrimPrefix(strings.ToValidUTF8(line, "?"), "\ufeff"), "\r\n")
		switch said, isError, isOutput := decoded(line); {
		case isError:
			end()
			add(said)
		case isOutput:
			read(said)
		default:
			read(line)
		}
		if err == io.EOF {
			break
		}
	}
	end()
	return known(all), nil
}

// known drops what says nothing of a pull if anything else does. Where nothing does, go
// has failed all the same.
func known(all []Complaint) []Complaint {
	some := slices.DeleteFunc(slices.Clone(all), func(c Complaint) bool { return c.Verdict == Unknown })
	if len(some) > 0 {
		return some
	}
	return slices.DeleteFunc(all, func(c Complaint) bool { return !ownFault.MatchString(c.Text) })
}

// ownFault is of the go command and no compiler.
var ownFault = regexp.MustCompile(`^go: \S`)

// complaint reads one.
func complaint(block string) (c Complaint, ok bool) {
	text := strings.TrimSpace(place.ReplaceAllString(strings.TrimSpace(block), ""))
	if text == "" || !isPull(block) || strings.HasPrefix(text, "go: warning: ") && verdictOfText(text) == Unknown {
		return c, false
	}
	c.Verdict = verdictOfText(text)
	c.Module, c.Version = namedModule(text)
	if m := badRequire.FindStringSubmatch(text); m != nil && pathOK(m[1]) {
		c.Module, c.Version = m[1], m[2]
	}
	if m := declared.FindStringSubmatch(text); m != nil && c.Module == "" && module.CheckPath(m[2]) == nil {
		c.Module = m[2]
	}
	c.Text = redact.Text(printableText(text))
	c.Fix = fixOfText(c)
	return c, true
}

// namedModule returns the module that a text is about: of a chain of requirements it is
// the last, which is the one that could not be had.
func namedModule(text string) (modPath, version string) {
	own := text
	if at := serverText.FindStringIndex(text); at != nil {
		own = text[:at[0]] // what a server says may name others
	}
	bare := webAddress.ReplaceAllString(own, "ADDRESS")
	for _, m := range moduleAt.FindAllStringSubmatchIndex(bare, -1) {
		at := m[1] < len(bare) && bare[m[1]] == ':'
		path, v := bare[m[2]:m[3]], strings.TrimSuffix(bare[m[4]:m[5]], "/go.mod")
		if pathOK(path) && (modPath == "" || at) {
			modPath, version = path, v
		}
	}
	if modPath != "" {
		return modPath, version
	}
	for _, address := range webAddress.FindAllString(own, -1) {
		_, after, _ := strings.Cut(address, "://")
		if key, ok := proxyFile(strings.TrimRight(after, ":,;.")); ok {
			return key.Module().Path, key.Module().Version
		}
	}
	for _, form := range []*regexp.Regexp{moduleIn, pathAlone} {
		for _, m := range form.FindAllStringSubmatch(bare, -1) {
			if pathOK(m[1]) && !strings.HasSuffix(m[1], ".go") {
				return m[1], ""
			}
		}
	}
	return "", ""
}

func pathOK(path string) bool { return checkTarget(path, path) == nil }

// printableText makes what was piped in fit for a terminal. A line keeps its end.
func printableText(text string) string {
	if len(text) > textLimit {
		text = strings.ToValidUTF8(text[:textLimit], "") + " ..."
	}
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.Map(func(r rune) rune {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				return ' '
			}
			return r
		}, strings.TrimRight(line, "\r\n"))
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
