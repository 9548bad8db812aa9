package upstream

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"unicode"

	"github.com/gomirror/gomirror/cache"
)

// verdict is what the end of an attempt says about the upstream.
type verdict uint8

const (
	mute  verdict = iota // nothing: it was cancelled, or the fault is ours
	good                 // it answers, be that "not found"
	alive                // its answer came in part: the link is bad, the upstream is not
	odd                  // it answers without sense; asking again would not help
	bad                  // it does not answer, or says that it can't now
)

// errMute tells the breaker of an attempt that says nothing.
var errMute = errors.New("says nothing")

// judge reads a verdict out of how an attempt ended.
func judge(err error) verdict {
	var status *StatusError
	var cut *cutError
	switch {
	case err == nil, errors.Is(err, ErrNotModified):
		return good
	case errors.Is(err, context.Canceled), ended(err), errors.As(err, new(*blockedError)), ours(err):
		return mute
	case errors.As(err, &status):
		return judgeStatus(status.Code)
	case errors.As(err, new(*StallError)):
		return bad
	case errors.As(err, &cut) && cut.got > 0:
		return alive
	case errors.As(err, new(*cache.InvalidError)), errors.As(err, new(*cache.ContradictionError)), !transient(err):
		return odd
	}
	return bad
}

// judgeStatus knows the codes that may be another the next time.
func judgeStatus(code int) verdict {
	switch {
	case transientCode(code):
		return bad
	case code >= 500:
		return odd
	}
	return good
}

// ended reports whether the deadline of a context is what err is about. errors.Is
// would say so of each time-out of a connection.
func ended(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if err == context.DeadlineExceeded {
			return true
		}
	}
	return false
}

// ours reports whether our own disk is what failed.
func ours(err error) bool {
	return errors.As(err, new(*cache.FullError)) || errors.As(err, new(*ownError)) || errors.As(err, new(*fs.PathError))
}

// passing reports whether the same question may have another answer soon.
func passing(err error) bool {
	v := judge(err)
	return v == bad || v == alive || errors.As(err, new(*blockedError))
}

// hushLimit is what fits into a line of status.
const hushLimit = 200

// secrets are the parts of a URL that may be: user and password, and the query, where
// signatures of storage hosts are.
var secrets = regexp.MustCompile(`(://)[^\s/"']*@|\?[^\s"']+`)

// hush makes an error's text fit to be shown and kept.
func hush(text string) string {
	text = secrets.ReplaceAllString(text, "$1")
	text = strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return ' '
	}, text)
	if len(text) > hushLimit {
		text = strings.ToValidUTF8(text[:hushLimit], "") + " ..."
	}
	return text
}
