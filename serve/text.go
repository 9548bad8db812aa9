package serve

import (
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What the go command shows of an error body: text/plain, up to a blank line, at
// most 8 lines and 648 bytes, of which each line break takes two; nothing at all if
// a rune is not graphic (cmd/go/internal/web/api.go, formatErrorDetail).
const (
	maxTextLines = 8
	maxLineBytes = 79
)

// errorText is the body of an error reply: the cause, then one line that says what
// to do.
func errorText(err error, code int) []byte {
	hint := hintOf(err)
	if hint == "" && (code >= http.StatusInternalServerError || code == http.StatusTooManyRequests) {
		hint = "gomirror doctor"
	}
	lines := wrap(Redact(err.Error()))
	var last []string
	if hint != "" {
		last = wrap("try: " + Redact(hint))
		last = last[:min(len(last), 2)]
	}
	if room := maxTextLines - len(last); len(lines) > room {
		lines = lines[:room]
		end := lines[room-1]
		lines[room-1] = strings.TrimRight(cut(end, maxLineBytes-len(" ...")), " ") + " ..."
	}
	return []byte(strings.Join(append(lines, last...), "\n") + "\n")
}

// hintOf returns the next step that an error knows of, or "".
func hintOf(err error) string {
	if h := interface{ Hint() string }(nil); errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// wrap breaks s into lines that the go command shows. It keeps line breaks, drops
// blank lines, and puts a question mark for what a terminal might obey.
func wrap(s string) []string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || unicode.IsGraphic(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return '?'
	}, strings.ToValidUTF8(s, "?"))
	var lines []string
	for paragraph := range strings.Lines(s) {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if line != "" && len(line)+1+len(word) > maxLineBytes {
				lines = append(lines, line)
				line = ""
			}
			if line != "" {
				line += " "
			}
			line += word
			for len(line) > maxLineBytes { // a URL
				head := cut(line, maxLineBytes)
				lines = append(lines, head)
				line = line[len(head):]
			}
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// cut returns at most n bytes of s, whole runes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
