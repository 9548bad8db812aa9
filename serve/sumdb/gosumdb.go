package sumdb

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gomirror/gomirror/serve/upstream"
	"golang.org/x/mod/sumdb/note"
)

// The go command's built-in database, from cmd/go/internal/modfetch/key.go.
const (
	defaultName = "sum.golang.org"
	defaultKey  = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
	// chinaName is an alias that the go command knows: the default database under
	// an address that is reachable in mainland China.
	chinaName = "sum.golang.google.cn"
)

// source says which database it is and where: what GOSUMDB means.
type source struct {
	name string   // as in its key; may hold slashes
	key  string   // verifier key, see x/mod/sumdb/note
	base *url.URL // address given in GOSUMDB, or nil
}

func defaultSource() source { return source{name: defaultName, key: defaultKey} }

// parseGOSUMDB parses GOSUMDB as the go command does. The zero source is "off".
func parseGOSUMDB(gosumdb string, std source) (source, error) {
	fields := strings.Fields(gosumdb)
	switch {
	case len(fields) == 0:
		return std, nil
	case len(fields) == 1 && fields[0] == "off":
		return source{}, nil
	case len(fields) == 1 && fields[0] == chinaName:
		fields = []string{std.name, "https://" + chinaName}
	case len(fields) > 2:
		return source{}, fmt.Errorf("parse GOSUMDB %q: too many fields", gosumdb)
	}
	key := fields[0]
	if key == std.name {
		key = std.key
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return source{}, fmt.Errorf("parse GOSUMDB %q: want a known name or a key: %w", gosumdb, err)
	}
	src := source{name: verifier.Name(), key: key}
	if !validName(src.name) {
		return source{}, fmt.Errorf("parse GOSUMDB %q: the name must be a host, or a host and a path", gosumdb)
	}
	if len(fields) == 2 {
		src.base, err = url.Parse(fields[1])
		if err != nil {
			return source{}, fmt.Errorf("parse GOSUMDB: %w", err)
		}
		if src.base.Scheme == "" {
			return source{}, fmt.Errorf("parse GOSUMDB %q: the second field must be a URL", gosumdb)
		}
	}
	return src, nil
}

// validName reports whether name is HOST or HOST/PATH and nothing else, so that
// https://name is its address.
func validName(name string) bool {
	u, err := url.Parse("https://" + name)
	return err == nil && !strings.HasSuffix(name, "/") && !strings.HasPrefix(name, ".") &&
		u.Host != "" && u.RawPath == "" && *u == url.URL{Scheme: "https", Host: u.Host, Path: u.Path}
}

// folder returns the name as one element of a file path.
func (s source) folder() string { return url.QueryEscape(s.name) }

// verifiers returns the one key that signs the tree.
func (s source) verifiers() note.Verifiers {
	verifier, err := note.NewVerifier(s.key)
	if err != nil {
		// Can't be: parseGOSUMDB has parsed the key. Nothing verifies then.
		return note.VerifierList()
	}
	return note.VerifierList(verifier)
}

// remotes returns the database's own addresses in the order in which they are asked.
func (s source) remotes(client *http.Client, hopID string) []Remote {
	own := &url.URL{Scheme: "https", Host: s.name}
	if host, path, ok := strings.Cut(s.name, "/"); ok {
		own.Host, own.Path = host, "/"+path
	}
	if s.base == nil || *s.base == *own {
		return []Remote{upstream.NewProxy(own, client, hopID)}
	}
	return []Remote{upstream.NewProxy(s.base, client, hopID), upstream.NewProxy(own, client, hopID)}
}
