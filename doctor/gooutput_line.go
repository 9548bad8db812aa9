package doctor

import (
	"encoding/json"
	"regexp"
	"strings"
)

var (
	// pull is what go says of modules and packages where it names a place in source. All
	// else there is of the compiler, in whose words a package may be called timeout.
	pull = regexp.MustCompile(`no required module provides|missing go\.sum entry|cannot find (?:main )?(?:module|package)|unrecognized import path|is not in (?:std|GOROOT)|does not contain package|reading https?://|module lookup|malformed (?:import|module) path|ambiguous import|@v\d|(?:import|package) \S+: `)

	// aroundGo is what begins a line that is worth reading although go did not print it.
	aroundGo = regexp.MustCompile(`^(?:fatal|remote|ssh|error|git): `)

	// ended is printed by programs that go has run: what they fail of is no pull.
	ended = regexp.MustCompile(`^(?:panic: |fatal error: |goroutine \d|exit status|signal: |\[signal )`)

	// member is a line of an object in JSON.
	member = regexp.MustCompile(`^\s*(?:"[A-Za-z]+":|[\]\[{}],?$)`)
)

// isPull reports whether a block is about a pull.
func isPull(block string) bool {
	if ended.MatchString(block) {
		return false
	}
	return !place.MatchString(strings.TrimSpace(block)) || pull.MatchString(block)
}

// isAround reports whether a line that go has not begun is about a pull: in the words of
// git, or of a tool around go that names a module.
func isAround(line string) bool {
	return !ended.MatchString(line) && !place.MatchString(strings.TrimSpace(line)) && !member.MatchString(line) && verdictOfText(line) != Unknown &&
		(aroundGo.MatchString(line) || moduleAt.MatchString(line) || webAddress.MatchString(line))
}

// decoded takes the output of -json flags apart: an error is a complaint by itself, and
// what go build and go test wrap in an object each is lines like any others.
func decoded(line string) (said string, isError, isOutput bool) {
	text := strings.TrimSpace(line)
	if strings.HasPrefix(text, "{\"") {
		var event struct{ Action, Output string }
		if json.Unmarshal([]byte(text), &event) == nil && event.Action != "" {
			return strings.TrimSuffix(event.Output, "\n"), false, true
		}
	}
	for _, name := range []string{`"Error":`, `"Err":`} {
		rest, ok := strings.CutPrefix(text, name)
		if ok && json.Unmarshal([]byte(strings.TrimSuffix(strings.TrimSpace(rest), ",")), &said) == nil {
			return said, true, false
		}
	}
	return "", false, false
}

// FirstWords is what go says in one line: where its first one ends in the middle, as
// those of import chains do, what they lead to.
func (c Complaint) FirstWords() string {
	const most = 8
	said := ""
	for line := range strings.Lines(c.Text) {
		said = strings.TrimSpace(said + " " + strings.TrimSpace(line))
		if !unfinished.MatchString(said) || strings.Count(said, " ") > most*4 {
			break
		}
	}
	return said
}

// unfinished ends a line that goes on in the next.
var unfinished = regexp.MustCompile(`(?:\b(?:imports|requires|tested by)|^[^"]*go\.mod:|server response:)$|^[^:]*$`)
