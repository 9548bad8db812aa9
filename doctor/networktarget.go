package doctor

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/gomirror/gomirror/serve/credential/github"
	"github.com/gomirror/gomirror/serve/upstream"
)

// role is what a host is there for.
type role int

const (
	asMirror   role = iota // an upstream
	asTarget               // where an upstream sends to
	asDatabase             // holds checksums
	asGit                  // holds repositories
	asAPI                  // tells why a repository can't be read
)

// probeModule is a module that every public mirror has, with a .mod of some hundred
// bytes: its maker is Go's own team, and its version is as old as modules are.
const probeModule = "golang.org/x/text/@v/v0.3.0"

// target is a host to visit.
type target struct {
	role  role
	url   *url.URL // what is asked for
	entry upstream.Entry
	from  string // of asTarget: the upstream
	head  bool   // of asTarget: a HEAD, which an address signed for GET refuses

	// Without a needed host something fails. why says what, or why nothing does.
	needed bool
	why    string
}

// name is how the target is spoken of.
func (t target) name() string {
	switch t.role {
	case asMirror:
		return t.entry.String()
	case asTarget:
		return t.url.Host + " (" + t.from + " sends there)"
	}
	return t.url.Host
}

// targets returns the hosts that matter in the order in which a pull meets them.
func (n *network) targets() ([]target, error) {
	entries, err := upstream.ParseList(n.upstreams())
	if err != nil {
		return nil, err
	}
	var all []target
	for _, e := range entries {
		u, err := url.Parse(e.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" {
			continue // direct, off and folders
		}
		u = u.JoinPath(probeModule + ".mod")
		all = append(all, target{role: asMirror, url: u, entry: e, needed: true})
	}
	if db := n.databaseURL(); db != nil {
		all = append(all, target{role: asDatabase, url: db, needed: true, why: "checksums of new modules"})
	}
	direct := entries[len(entries)-1].URL == "direct"
	return append(all, n.gitHosts(direct && len(all) == 0)...), nil
}

// upstreams is the list to visit. The sidecar tells its own without passwords: where
// that of the settings is the same but for these, it is taken.
func (n *network) upstreams() string {
	list := n.o.Upstreams()
	for _, own := range []string{n.o.Upstream, n.o.Go().Own.GOPROXY} {
		if own != "" && bareList(own) == bareList(list) {
			return own
		}
	}
	return list
}

// bareList returns a list without passwords.
func bareList(list string) string {
	entries, err := upstream.ParseList(list)
	if err != nil {
		return ""
	}
	return joinEntries(entries, func(e upstream.Entry) string { return e.String() })
}

// joinEntries is the list that ParseList has read.
func joinEntries(entries []upstream.Entry, text func(upstream.Entry) string) string {
	var b strings.Builder
	for i, e := range entries {
		b.WriteString(text(e))
		switch {
		case i == len(entries)-1:
		case e.FallBackOnError:
			b.WriteByte('|')
		default:
			b.WriteByte(',')
		}
	}
	return b.String()
}

// databaseURL is what the checksum database is asked for, nil if there is none.
func (n *network) databaseURL() *url.URL {
	fields := strings.Fields(n.o.Go().Own.GOSUMDB)
	if len(fields) == 0 || fields[0] == "off" {
		return nil
	}
	if builtin := n.o.Go().Builtin.GOSUMDB; builtin != "" && !knownDatabase(fields[0], builtin) {
		return nil // E06 tells
	}
	at, _, _ := strings.Cut(fields[0], "+") // NAME+HASH+KEY
	if len(fields) > 1 {
		at = fields[1]
	}
	if !strings.Contains(at, "://") {
		at = "https://" + at
	}
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		return nil // E06 tells
	}
	return u.JoinPath("latest")
}

// gitHosts returns GitHub and the hosts that patterns, tokens and settings name.
func (n *network) gitHosts(direct bool) []target {
	tokens, private := n.places(), n.privateHosts()
	own := slices.Contains(tokens, "github.com") || slices.Contains(private, "github.com")
	needed, why := own || direct, "private modules"
	switch {
	case direct && !own:
		why = "modules, as there is no mirror"
	case !needed:
		why = "nothing private is there and a mirror has the rest"
	}
	token, check := slices.Contains(tokens, "github.com"), "the check of your token"
	if !token {
		check = "there is no token to check"
	}
	all := []target{
		{role: asGit, url: &url.URL{Scheme: "https", Host: "github.com", Path: "/"}, needed: needed, why: why},
		{role: asAPI, url: &url.URL{Scheme: "https", Host: "api.github.com", Path: "/"}, needed: token, why: check},
		{role: asGit, url: &url.URL{Scheme: "https", Host: "codeload.github.com", Path: "/"},
			why: "only archives come from there, and gomirror takes none"},
	}
	for _, host := range sorted(slices.Concat(tokens, private, n.o.Hosts)) {
		if host == "github.com" || strings.Contains(host, "*") {
			continue
		}
		mine := slices.Contains(tokens, host) || slices.Contains(n.o.Hosts, host)
		why := "private modules"
		if !mine {
			why = "there is no token for it, so go asks it by itself"
		}
		all = append(all, target{role: asGit, url: &url.URL{Scheme: "https", Host: host, Path: "/"}, needed: mine, why: why})
		if slices.Contains(tokens, host) { // an Enterprise host: no other has tokens
			if u, err := url.Parse(github.API(host)); err == nil && u.Host != host {
				all = append(all, target{role: asAPI, url: u.JoinPath("/"), needed: true, why: "the check of your token"})
			}
		}
	}
	return all
}

// places returns the hosts that there is a token for. The keychain is not asked.
func (n *network) places() (hosts []string) {
	for _, place := range n.o.Daemon().Status.Tokens {
		host, _, _ := strings.Cut(place, "/")
		hosts = append(hosts, strings.ToLower(host))
	}
	if n.o.Getenv("GOMIRROR_GITHUB_TOKEN") != "" {
		hosts = append(hosts, "github.com")
	}
	if n.o.Tokens == nil {
		return hosts
	}
	entries, _ := n.o.Tokens.Places() // A01 tells of the error
	for _, e := range entries {
		hosts = append(hosts, e.Place.Host)
	}
	return hosts
}

// privateHosts returns the hosts of all private patterns.
func (n *network) privateHosts() (hosts []string) {
	env := n.o.Go().Own
	lists := slices.Concat(n.o.Private, n.o.Daemon().Status.Private,
		strings.Split(env.GOPRIVATE, ","), strings.Split(env.GONOPROXY, ","))
	for _, pattern := range lists {
		host, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(pattern)), "/")
		if _, err := path.Match(host, ""); err == nil && strings.Contains(host, ".") {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// sorted returns a set's members once each.
func sorted(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}
