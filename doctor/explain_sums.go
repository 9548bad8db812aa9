package doctor

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// sum is a checksum of the module's zip and who has it.
type sum struct{ who, h1, fix string }

// checksums compares what go.sum, the caches and the checksum database say.
func (x *explainer) checksums(ctx context.Context) {
	if !isVersion(x.version) {
		x.step("checksum", Skipped, nil, "no exact version, so there is nothing to compare")
		return
	}
	var sums []sum
	add := func(who, h1, fix string) {
		if h1 != "" {
			sums = append(sums, sum{who, h1, fix})
		}
	}
	// The first vouches for the others.
	db, asked := x.database(ctx)
	add("the checksum database", db, "")
	goSum := x.goSum()
	add("go.sum", goSum, dropSum(x.mod, x.version))
	if m, ok := x.meta(); ok {
		add("gomirror's cache", m.H1, "gomirror refresh "+x.name())
	}
	add("go's module cache", x.goZipHash(), "go clean -modcache")
	for _, other := range sums[min(1, len(sums)):] {
		if other.h1 != sums[0].h1 {
			x.step("checksum", Fail, nil, "%s has %s, and %s has %s", sums[0].who, sums[0].h1, other.who, other.h1)
			x.blame(ChecksumMismatch, other.fix, "%s has another checksum of %s than %s", other.who, x.name(), sums[0].who)
			return
		}
	}
	switch {
	case len(sums) == 0 && asked == "":
		x.step("checksum", Skipped, nil, "nobody has a checksum of it yet")
	case len(sums) == 0:
		x.step("checksum", Skipped, nil, "%s", asked)
	case len(sums) == 1:
		x.step("checksum", OK, nil, "%s has %s", sums[0].who, sums[0].h1)
	default:
		who := make([]string, len(sums))
		for i, s := range sums {
			who[i] = s.who
		}
		x.step("checksum", OK, nil, "%s agree on %s", strings.Join(who, ", "), sums[0].h1)
	}
}

// database asks the checksum database by the way of a pull. why says why not.
func (x *explainer) database(ctx context.Context) (h1, why string) {
	g := x.o.Go()
	name, _, _ := strings.Cut(strings.TrimSpace(g.Own.GOSUMDB), " ")
	name = database(name)
	unasked := append(append(listed(g.Own.GONOSUMDB), listed(g.Own.GOPRIVATE)...), x.o.Daemon().Status.Unasked...)
	switch {
	case x.pattern != "":
		return "", "no checksum database hears of a private module"
	case name == "off" || name == "":
		return "", "GOSUMDB=off: no checksum database is asked"
	case x.matching(unasked) != "":
		return "", "GONOSUMDB keeps it from the checksum database"
	case x.offline():
		return "", "nobody is asked: offline"
	case x.verdict == NotFound || x.verdict == BadVersion || x.verdict == MajorSuffix:
		return "", "there is no such version"
	case x.verdict.network():
		return "", "not asked, as the upstream can't be"
	}
	escaped, err := module.EscapePath(x.mod)
	if err != nil {
		return "", ""
	}
	version, err := module.EscapeVersion(x.version)
	if err != nil {
		return "", ""
	}
	lookup := "lookup/" + escaped + "@" + version
	list, _ := upstream.ParseList(x.o.Upstreams())
	for _, e := range list {
		if u, err := url.Parse(e.URL); err != nil || u.Host == "" {
			continue
		}
		if r := x.askMirror(ctx, e, "sumdb/"+name+"/"+lookup, http.MethodGet); r.verdict() == Fine {
			return lookedUp(r.body, x.mod, x.version), ""
		}
	}
	if u := x.n.databaseURL(); u != nil {
		r := x.ask(ctx, target{role: asDatabase, url: (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}).JoinPath(lookup)}, http.MethodGet, nil)
		if r.verdict() == Fine {
			return lookedUp(r.body, x.mod, x.version), ""
		}
		return "", name + ": " + r.String()
	}
	return "", name + " does not know it"
}

// lookedUp reads the h1 out of a lookup. It is shown, and nothing is served by it, so
// that the signature is left to whoever serves.
func lookedUp(body []byte, mod, version string) string {
	for line := range strings.Lines(string(body)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == mod && f[1] == version {
			return f[2]
		}
	}
	return ""
}

// goSum returns what go.sum of this project has.
func (x *explainer) goSum() string {
	for dir := x.o.Dir; dir != ""; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			content, _ := os.ReadFile(filepath.Join(dir, "go.sum"))
			return lookedUp(content, x.mod, x.version)
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return ""
}

var h1Form = regexp.MustCompile(`^h1:[0-9A-Za-z+/]{43}=$`)

// goZipHash returns what go has noted beside the zip that it pulled.
func (x *explainer) goZipHash() string {
	tree, k := x.goTree(), x.key(cache.Zip)
	if tree == "" || k.Kind() != cache.Zip {
		return ""
	}
	content, err := os.ReadFile(filepath.Join(tree, filepath.FromSlash(k.String())+"hash"))
	if h1 := strings.TrimSpace(string(content)); err == nil && h1Form.MatchString(h1) {
		return h1
	}
	return ""
}
