package redact

import (
	"cmp"
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// MinSecret is the length of the shortest text that can be registered: to take out a
// shorter one would make texts unreadable that have nothing to do with it.
const MinSecret = 8

// secrets is the one thing in gomirror that packages share without being handed it:
// a token may come back in the error of any part, and a log or reply that was made
// before the token was read must know it all the same. It only grows, by a few forms
// of each token that this process has seen.
var secrets registry

type registry struct {
	mu    sync.RWMutex
	forms []form // guarded by mu; the longest first
}

// form is a text that a secret appears as.
type form struct {
	text    string
	charset string // more characters of these on either side belong to it
}

// Secret has a text taken out of what [Text] is given from now on: as it is, quoted,
// as part of a URL, and in base64, alone or with a user name before it. It may be
// called at any time, with the same text too.
func Secret(text string) {
	if len(text) < MinSecret || secrets.has(form{text: text}) {
		return
	}
	quoted := strconv.Quote(text)
	forms := []form{
		{text: text},
		{text: quoted[1 : len(quoted)-1]},
		{text: url.QueryEscape(text)},
		{text: url.PathEscape(text)},
	}
	forms = append(forms, base64Forms(text)...)
	secrets.add(forms)
}

// base64Forms returns what all base64 of a longer text that has this one inside has
// in common: one form for each of the three places that it may begin at in a group
// of three bytes, less the characters that depend on its neighbours.
func base64Forms(text string) []form {
	const more = "+/-_="
	var forms []form
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			code := encoding.EncodeToString([]byte(strings.Repeat("\x00", before) + text))
			first := (before*8 + 5) / 6          // that holds no bit from before
			last := (before + len(text)) * 8 / 6 // that holds no bit from behind
			forms = append(forms, form{code[first:last], more})
		}
	}
	return forms
}

func (r *registry) has(f form) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Contains(r.forms, f)
}

func (r *registry) add(forms []form) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.forms) // cut may be reading the old ones
	for _, f := range forms {
		if !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b form) int { return cmp.Compare(len(b.text), len(a.text)) })
	r.forms = all
}

func (r *registry) cut(s string) string {
	r.mu.RLock()
	forms := r.forms
	r.mu.RUnlock()
	for _, f := range forms {
		s = f.cut(s)
	}
	return s
}

func (f form) cut(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, f.text)
		if !found {
			break
		}
		if f.charset != "" {
			before = strings.TrimRightFunc(before, f.belongs)
			after = strings.TrimLeftFunc(after, f.belongs)
		}
		b.WriteString(before)
		b.WriteString(replacement)
		s = after
	}
	if b.Len() == 0 {
		return s
	}
	b.WriteString(s)
	return b.String()
}

func (f form) belongs(r rune) bool {
	return '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || strings.ContainsRune(f.charset, r)
}
