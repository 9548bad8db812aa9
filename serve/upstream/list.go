package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// The words of a GOPROXY list that are no URL. Both end the list.
const (
	wordDirect = "direct"
	wordOff    = "off"
)

// Entry is one element of a GOPROXY list: a URL, "direct" or "off".
type Entry struct {
	URL             string // may hold credentials: print the Entry, not its URL
	FallBackOnError bool   // "|" follows: the next entry is asked after any error
}

// String returns the URL without credentials.
func (e Entry) String() string { return redact(e.URL) }

// ParseList parses a GOPROXY list as the go command does: spaces and empty entries
// are dropped, a host without scheme gets https://, and nothing is read behind
// direct or off. Addresses of a gomirror on this machine are dropped, for a list
// that was read from the environment often starts with ours.
func ParseList(goproxy string) ([]Entry, error) {
	var entries []Entry
	for _, seg := range segments(goproxy) {
		word := strings.TrimSpace(seg.text)
		if word == "" || IsOurs(word) {
			continue
		}
		if word == wordDirect || word == wordOff {
			entries = append(entries, Entry{URL: word})
			break
		}
		entry := Entry{URL: withScheme(word), FallBackOnError: seg.sep == "|"}
		if _, err := parseURL(entry.URL); err != nil {
			return nil, fmt.Errorf("parse upstream %q: %w", entry, err)
		}
		entries = append(entries, entry)
	}
	if len(entries) == 0 {
		return nil, errors.New("parse upstream list: it names no upstream")
	}
	return entries, nil
}

// parseURL parses the URL of a module proxy. Its errors do not repeat the URL, for
// that may hold a password.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	switch u.Scheme {
	case "https":
	case "http":
		// As the go command: a password never crosses the network in the clear.
		if u.User != nil {
			return nil, errors.New("credentials need https")
		}
	case "file":
		if *u != (url.URL{Scheme: u.Scheme, Path: u.Path, RawPath: u.RawPath}) || u.Path == "" {
			return nil, errors.New("want file:///FOLDER")
		}
		return u, nil
	case "":
		return nil, errors.New("want a URL, direct or off")
	default:
		return nil, errors.New("unknown scheme, want https, http or file")
	}
	if u.Hostname() == "" {
		return nil, errors.New("no host")
	}
	return u, nil
}

// withScheme puts https:// before what looks like a host and a path. Single words
// are kept for the language, and what holds ":/" is a URL already.
func withScheme(word string) string {
	if strings.ContainsAny(word, ".:/") && !strings.Contains(word, ":/") &&
		!filepath.IsAbs(word) && !path.IsAbs(word) {
		return "https://" + word
	}
	return word
}

// redact returns s without credentials and query. What can't be parsed may hold a
// password too, at any place before the last @.
func redact(s string) string {
	if u, err := parseURL(s); err == nil {
		return bareURL(u)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "", s
	} else {
		scheme += "://"
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	return scheme + rest
}

// ourPath is the path of a gomirror's address, /t/CAPABILITY.
var ourPath = regexp.MustCompile(`^/t/[0-9a-f]{32}(/|$)`)

// IsOurs reports whether an entry of a GOPROXY list is the address of a gomirror on
// this machine: any loopback host with a capability path. Which port and which
// capability does not matter, for both change over time.
func IsOurs(entry string) bool {
	u, err := url.Parse(withScheme(strings.TrimSpace(entry)))
	if err != nil || !ourPath.MatchString(u.Path) {
		return false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// Strip returns a GOPROXY list without the addresses of a gomirror on this machine.
// Each other entry keeps the separator that follows it. A list that names none of
// ours is returned byte for byte.
func Strip(goproxy string) string {
	var kept []segment
	ours := false
	for _, seg := range segments(goproxy) {
		if IsOurs(seg.text) {
			ours = true
		} else if strings.TrimSpace(seg.text) != "" {
			kept = append(kept, seg)
		}
	}
	if !ours {
		return goproxy
	}
	var b strings.Builder
	for i, seg := range kept {
		b.WriteString(seg.text)
		if i < len(kept)-1 {
			b.WriteString(seg.sep)
		}
	}
	return b.String()
}

// segment is one entry of a list as written, and the separator behind it.
type segment struct{ text, sep string }

func segments(list string) []segment {
	var segs []segment
	for {
		i := strings.IndexAny(list, ",|")
		if i < 0 {
			return append(segs, segment{text: list})
		}
		segs = append(segs, segment{list[:i], list[i : i+1]})
		list = list[i+1:]
	}
}
