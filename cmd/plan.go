package cmd

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomirror/gomirror/serve"
	"github.com/gomirror/gomirror/serve/upstream"
)

// matchNothing is a pattern that matches no module. An empty GONOPROXY means unset
// to the go command, which then takes GOPRIVATE (go help private).
const matchNothing = "none"

// fallbacks are what may stand behind our address in GOPROXY, see --fallback.
func fallbacks() []string { return []string{"direct", "off", "cache", "upstream"} }

// planInput is all that decides how a shell is set up.
type planInput struct {
	address  string   // our URL with its capability
	user     goEnv    // what the user has without us
	proxy    string   // their GOPROXY without our address, or the go command's default
	config   []string // setting private of this process
	running  bool     // a daemon has proven to be ours
	served   []string // setting private of that daemon
	private  []string // all patterns that it treats as private, wherever it has them from
	unasked  []string // those of them that no checksum database may hear of
	upstream string   // its upstream, or what the next one will have
	tokens   []string // HOST or HOST/OWNER that there is a token for, here or in that daemon
	held     []string // those of them that decide what is served: that daemon's if it runs
	fallback string   // "" or one of fallbacks
	cacheDir string

	restart func() string // the command that starts that daemon anew and loses no flag of it
}

// plan is what to set; variables of goVars that are not in set keep the user's own
// value.
type plan struct {
	set   map[string]string
	notes []string
}

// makePlan is the table in DESIGN, "gomirror env". An empty plan leaves the shell
// alone.
func makePlan(in planInput) (plan, error) {
	p := plan{set: map[string]string{}}
	entries, err := upstream.ParseList(in.proxy)
	if err != nil {
		return plan{}, failf("go env -u GOPROXY", "read your GOPROXY: %w", err)
	}
	switch entries[0].URL {
	case "off":
		p.note("GOPROXY=off forbids downloads, so nothing is set")
		return p, nil
	case "direct":
		// "No mirror" is what they said, unless it is the rest of our own "S|direct".
		if in.proxy == in.user.GOPROXY && asksMirror(in.upstream) {
			return plan{}, failf("gomirror config set upstream direct; gomirror stop; gomirror serve --background",
				"your GOPROXY=direct says no mirror, but gomirror asks %s", redactList(in.upstream))
		}
	}
	p.setPatterns(in)
	// Also when the pattern is only the daemon's: another shell of the same user set
	// it, and the module may be pulled in this one.
	private := p.set["GONOPROXY"] != "" || len(in.private) > 0 || len(in.tokens) > 0
	if p.set["GOPROXY"], err = proxyList(in, private); err != nil {
		return plan{}, err
	}
	if len(in.tokens) > 0 && p.set["GONOPROXY"] == "" && len(in.private) == 0 {
		p.note("there is a token for %s and no private pattern: gomirror config set private github.com/YOURORG", strings.Join(in.tokens, ", "))
	}
	if db := relayedDatabase(in.user.GOSUMDB); db != in.user.GOSUMDB {
		p.set["GOSUMDB"] = db
	}
	return p, nil
}

// setPatterns sets GONOPROXY, GONOSUMDB and GOPRIVATE where the user has something
// private.
func (p *plan) setPatterns(in planInput) {
	goPrivate, noProxy := patterns(in.user.GOPRIVATE), patterns(in.user.GONOPROXY)
	config := unite(in.config, in.served) // serve --private counts as much as config.toml
	// So does the GOPRIVATE of the shell that started the daemon: with the daemon down
	// go would name here what is private there. Only that everything is private is said
	// for one shell.
	known := unite(config, slices.DeleteFunc(slices.Clone(in.unasked), func(p string) bool { return p == "*" }))
	if len(known)+len(goPrivate)+len(noProxy) == 0 {
		return
	}
	// The daemon's patterns decide what it does, not this shell's: what it would not
	// treat as private goes past it, as it did before gomirror. The next daemon
	// reads the config.
	served := in.served
	if !in.running {
		served = in.config
	}
	keep := slices.DeleteFunc(unite(goPrivate, noProxy, known), func(pattern string) bool {
		// What it has only from GOPRIVATE it serves with a token. Who has none fetches by
		// ssh, say, which only go itself can do.
		return coveredInAnyCase(pattern, served) || coveredInAnyCase(pattern, in.private) && hasToken(in.held, pattern)
	})
	p.set["GONOPROXY"] = matchNothing
	if len(keep) > 0 {
		p.set["GONOPROXY"] = strings.Join(spellings(keep...), ",") // else go asks us, who don't know
		p.keepNotes(keep, config, in)
	}
	switch {
	case len(known) > 0:
		p.set["GOPRIVATE"] = strings.Join(unite(goPrivate, known), ",")
		fallthrough
	case len(goPrivate) > 0:
		p.set["GONOSUMDB"] = strings.Join(unite(patterns(in.user.GONOSUMDB), spellings(unite(goPrivate, known)...)), ",")
	default:
		// GONOPROXY alone is also used for public forks, whose checksums are wanted.
		noSum := patterns(in.user.GONOSUMDB)
		for _, pattern := range noProxy {
			if !covered(pattern, noSum) {
				p.note("GONOPROXY=%[1]s still asks the checksum database; if it is private: gomirror config set private '%[1]s'", pattern)
			}
		}
	}
}

// keepNotes tells what goes past gomirror and how to change that.
func (p *plan) keepNotes(keep, config []string, in planInput) {
	var unknown, strange []string
	for _, pattern := range keep {
		switch {
		case pattern == "*":
			// No advice: as a setting it would cut off the mirror for everything.
			p.note("GOPRIVATE or GONOPROXY is *, so go fetches everything by itself and gomirror serves nothing")
		case covered(pattern, config):
			p.note("go fetches %s by itself until gomirror restarts with it: %s", pattern, in.restart())
		case covered(pattern, in.private) && hasToken(in.tokens, pattern):
			p.note("go fetches %s by itself until gomirror restarts with this shell's %s: %s", pattern, tokenVariable, in.restart())
		case covered(pattern, in.private) && strings.HasPrefix(pattern, "github.com/"):
			strange = append(strange, pattern)
		default:
			unknown = append(unknown, pattern)
		}
	}
	if len(strange) > 0 {
		p.note("go fetches %s by itself as before, as there is no token; to have it cached: gomirror auth login", strings.Join(strange, ","))
	}
	if len(unknown) > 0 {
		p.note("go fetches %s by itself as before; to have it cached: gomirror config set private '%s'",
			strings.Join(unknown, ","), strings.Join(unite(config, unknown), ","))
	}
}

// proxyList returns GOPROXY. Behind us stands no mirror once there is a private
// name: it would learn that name when we are down, and on each of our 404s.
func proxyList(in planInput, private bool) (string, error) {
	switch in.fallback {
	case "off": // go then shows our error texts, not those of what comes after us
		return in.address, nil
	case "direct":
		return in.address + "|direct", nil
	case "cache":
		// go reads our trees as file proxies when we are down: no network at all.
		list := in.address
		for _, tree := range []string{"download", "private"} {
			list += "|" + fileURL(filepath.Join(in.cacheDir, tree))
		}
		return list, nil
	case "upstream":
		if private && asksMirror(in.proxy) {
			return "", failf("gomirror env --fallback direct",
				"put %s behind gomirror: it would learn the names of private modules", redactList(in.proxy))
		}
	case "":
		if private {
			return in.address + "|direct", nil
		}
	}
	return in.address + "|" + in.proxy, nil
}

// note keeps a text for after the statements.
func (p *plan) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// asksMirror reports whether a GOPROXY list holds anything that may tell others what
// is asked for. It knows what does not, so that what it does not know counts.
func asksMirror(list string) bool {
	entries, err := upstream.ParseList(list)
	return err != nil || slices.ContainsFunc(entries, func(e upstream.Entry) bool {
		scheme, _, _ := strings.Cut(e.URL, ":")
		return e.URL != "direct" && e.URL != "off" && !strings.EqualFold(scheme, "file")
	})
}

// redactList returns a GOPROXY list without passwords and without the capabilities
// of other gomirrors, to be shown. What can't be parsed is not shown at all, for nobody knows where in it a password is.
func redactList(list string) string {
	entries, err := upstream.ParseList(list)
	if err != nil {
		return "an unreadable list"
	}
	var b strings.Builder
	for i, e := range entries {
		b.WriteString(e.String())
		if i == len(entries)-1 {
			break
		}
		if e.FallBackOnError {
			b.WriteString("|")
		} else {
			b.WriteString(",")
		}
	}
	return serve.Redact(b.String())
}

// relayedDatabase returns a GOSUMDB value of the same database and key that the go
// command asks through its proxies. With a URL in it, or as the alias for China,
// the database is asked past every proxy (cmd/go/internal/modfetch/sumdb.go).
func relayedDatabase(gosumdb string) string {
	fields := strings.Fields(gosumdb)
	switch {
	case gosumdb == "sum.golang.google.cn": // cmd/go gives the alias the URL of its own name
		return "sum.golang.org"
	case len(fields) == 2:
		return fields[0]
	}
	return gosumdb
}

// fileURL returns the file URL of an absolute path, on Windows too.
func fileURL(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/cache
	}
	text := (&url.URL{Scheme: "file", Path: path}).String()
	return strings.ReplaceAll(text, ",", "%2C") // which separates a GOPROXY list
}
