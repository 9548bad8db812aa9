package upstream

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gomirror/gomirror/cache"
)

const (
	// errorBodyLimit and errorBodyTime bound the reading of an answer that says why
	// not. Reading it to its end keeps the connection: go get -u meets 422 of these.
	errorBodyLimit = 16 << 10
	errorBodyTime  = 10 * time.Second

	// errorTextLimit is what fits beside the rest of our reply in the 648 bytes that
	// the go command shows.
	errorTextLimit = 200
)

// errorText returns the first printable line of a text answer, or "".
func errorText(resp *http.Response) string {
	lines := bufio.NewScanner(io.LimitReader(resp.Body, errorBodyLimit))
	lines.Buffer(nil, errorBodyLimit)
	mediaType, params, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	plain := mediaType == "text/plain" && (charset == "" || charset == "utf-8" || charset == "us-ascii")
	text := ""
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if plain && text == "" && printable(line) {
			text = line
		}
	}
	if len(text) > errorTextLimit {
		text = text[:errorTextLimit]
		for !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
	}
	return text
}

// printable reports whether a line can be shown: the go command drops a whole reply
// for one escape code.
func printable(line string) bool {
	return utf8.ValidString(line) && strings.IndexFunc(line, func(r rune) bool { return !unicode.IsGraphic(r) }) < 0
}

// loopError is a 508: a gomirror has seen its own id in [HopHeader].
type loopError struct{ *StatusError }

func (e *loopError) Error() string {
	return e.StatusError.Error() + "; this upstream leads back to a gomirror that already asked"
}

func (e *loopError) Unwrap() error { return e.StatusError }

// Hint tells the one thing to do.
func (e *loopError) Hint() string { return "gomirror config get upstream" }

// fetchError says who was asked for what.
type fetchError struct {
	upstream, path string
	err            error
}

func (e *fetchError) Error() string {
	var invalid *cache.InvalidError
	var contradiction *cache.ContradictionError
	if errors.As(e.err, &invalid) || errors.As(e.err, &contradiction) {
		return fmt.Sprintf("%s: %v", e.upstream, e.err) // these name the key
	}
	return fmt.Sprintf("fetch %s from %s: %v", e.path, e.upstream, e.err)
}

func (e *fetchError) Unwrap() error { return e.err }

// reason returns what went wrong without repeating who was asked for what.
func reason(err error) string {
	var fetch *fetchError
	var status *StatusError
	switch {
	case errors.As(err, &status):
		s := fmt.Sprintf("%d %s", status.Code, http.StatusText(status.Code))
		if status.Text != "" {
			s += ": " + status.Text
		}
		return s
	case errors.As(err, &fetch):
		return fetch.err.Error()
	}
	return err.Error()
}
