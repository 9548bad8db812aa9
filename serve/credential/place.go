package credential

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Place is what a token is for: all of a host, or what one owner has there.
type Place struct{ Host, Owner string }

// String returns "github.com/acme" or "github.com". It is the account of the
// keychain's item too.
func (p Place) String() string {
	if p.Owner == "" {
		return p.Host
	}
	return p.Host + "/" + p.Owner
}

// Entry is a line of the index: a place that has a token, whose it is and where.
type Entry struct {
	Place
	Login   string    `json:"login"`   // the account that the host knows it by
	Storage string    `json:"storage"` // "keychain" or "file"
	Added   time.Time `json:"added"`
	Expires time.Time `json:"expires,omitzero"` // see [Store.SetExpiry]
}

const (
	inKeychain = "keychain"
	inFile     = "file"
)

// Names as DNS and GitHub have them. Nothing else goes to a keychain or to git, whose
// protocols give a meaning to line breaks.
var (
	hostName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	ownerName = regexp.MustCompile(`^[a-z0-9_][a-z0-9._-]{0,99}$`)
)

// clean returns p in lower case, as hosts and GitHub compare names.
func (p Place) clean() (Place, error) {
	p = Place{strings.ToLower(p.Host), strings.ToLower(p.Owner)}
	if !hostName.MatchString(p.Host) || p.Owner != "" && !ownerName.MatchString(p.Owner) {
		return Place{}, &hinted{fmt.Errorf("find a token for %q: not a host or HOST/OWNER", p.String()), "gomirror auth status"}
	}
	return p, nil
}

// login returns the command that stores a token for p.
func (p Place) login() string {
	command := "gomirror auth login"
	if p.Host != envHost {
		command += " --hostname " + p.Host
	}
	if p.Owner != "" {
		command += " --owner " + p.Owner
	}
	return command
}
