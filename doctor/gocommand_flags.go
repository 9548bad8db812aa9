package doctor

import (
	"context"
	"slices"
	"strings"
)

// takenFlags returns the flags of GOFLAGS that go takes, and what it says of the first
// one that it does not. Of several it names one at a time.
func (o *Options) takenFlags(ctx context.Context, g Go) (kept []string, refused error) {
	kept = splitFlags(g.Now.GOFLAGS)
	for len(kept) > 0 { // an empty GOFLAGS would have go read that of go env -w
		err := o.tryFlags(ctx, g, kept)
		if err == nil {
			return kept, refused
		}
		if refused == nil {
			refused = err
		}
		before := len(kept)
		kept = slices.DeleteFunc(kept, func(f string) bool { return blames(err, f) })
		if len(kept) == before {
			return nil, refused
		}
	}
	return kept, refused
}

// tryFlags has go take flags. go env says nothing of those that every other command
// refuses, and go version looks at no value. go list -m looks at all, and where there is
// no module it reads and writes nothing.
func (o *Options) tryFlags(ctx context.Context, g Go, flags []string) error {
	environ := append(ForGo(o.Environ()), "GOFLAGS="+strings.Join(flags, " "))
	if _, err := o.Exec(ctx, "/", environ, g.Path, "version"); err != nil {
		return err
	}
	_, err := o.Exec(ctx, "/", environ, g.Path, "list", "-m")
	if err == nil || strings.Contains(err.Error(), "(from $GOFLAGS)") {
		return err
	}
	if strings.Contains(err.Error(), " not supported") && slices.ContainsFunc(flags, func(f string) bool { return blames(err, f) }) {
		return err
	}
	return nil // of where it was asked, not of how
}

// blames reports whether go's error is about a flag. It quotes the whole of it, its name,
// or both without the "-".
func blames(err error, flag string) bool {
	bare := strings.Trim(flag, `'"`)
	if !strings.HasPrefix(bare, "-") {
		return true
	}
	bare = strings.TrimLeft(bare, "-")
	name, _, valued := strings.Cut(bare, "=")
	words := strings.Fields(err.Error())
	return slices.Contains(words, "-"+name) || valued && strings.Contains(err.Error(), bare)
}

// splitFlags splits GOFLAGS as go does, where a flag with spaces in it is quoted as a
// whole. The quotes stay.
func splitFlags(list string) (flags []string) {
	for list = strings.TrimSpace(list); list != ""; list = strings.TrimSpace(list) {
		end := strings.IndexAny(list, " \t\r\n")
		if list[0] == '\'' || list[0] == '"' {
			if end = strings.IndexByte(list[1:], list[0]); end >= 0 {
				end += 2
			}
		}
		if end < 0 {
			end = len(list)
		}
		flags, list = append(flags, list[:end]), list[end:]
	}
	return flags
}
