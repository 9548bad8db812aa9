package doctor

import (
	"cmp"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// checkDatabase looks which names the checksum database hears of, and by which way.
func (o *Options) checkDatabase(g Go) []Finding {
	name, _, hasURL := strings.Cut(strings.TrimSpace(g.Now.GOSUMDB), " ")
	if name != "off" && !knownDatabase(name, g.Builtin.GOSUMDB) {
		_, err := note.NewVerifier(name)
		return say(Fail, o.unset("GOSUMDB")+" && "+o.setUpFix(), "GOSUMDB=%s is no checksum database that go knows: %v", name, err)
	}
	if tokens := o.tokenFor(); len(tokens) > 0 && len(o.private(g)) == 0 {
		fix := "gomirror config set private " + owned(tokens[0])
		if namesUs(g.Now.GOPROXY) {
			fix += " && " + setUp
		}
		return say(Warn, fix, "there is a token for %s, but no pattern says what is private", strings.Join(tokens, ", "))
	}
	if name == "off" {
		return say(OK, "", "GOSUMDB=off: go asks no checksum database")
	}
	// Not of GONOPROXY alone: who sets that may want checksums of public forks.
	secret := slices.Concat(o.Private, listed(g.Own.GOPRIVATE), o.Daemon().Status.Unasked)
	slices.Sort(secret)
	plan, told := o.Plan(), uncovered(slices.Compact(secret), listed(g.Now.GONOSUMDB))
	switch {
	case len(told) > 0 && (plan.Err != nil || !namesUs(g.Now.GOPROXY)):
		return say(Fail, o.setUpFix(), "GONOSUMDB=%s lacks %s, so go names private modules to %s", g.Now.GONOSUMDB, strings.Join(told, ", "), database(name))
	case !namesUs(g.Now.GOPROXY):
		return say(Skipped, "", "go does not ask gomirror, see E03")
	case plan.Err != nil:
		return say(Skipped, "", "gomirror env prints nothing, see E03")
	}
	if open := uncovered(listed(plan.Vars["GONOSUMDB"]), listed(g.Now.GONOSUMDB)); len(open) > 0 {
		return say(Fail, setUp, "GONOSUMDB=%s lacks %s, so go names private modules to %s", g.Now.GONOSUMDB, strings.Join(open, ", "), database(name))
	}
	if hasURL || plan.Vars["GOSUMDB"] != g.Now.GOSUMDB {
		return say(Warn, setUp, "GOSUMDB=%s is asked past gomirror, so it can't be asked without a network", shown(g.Now.GOSUMDB))
	}
	return say(OK, "", "%s hears of public modules only, by way of gomirror", database(name))
}

// knownDatabase reports whether go knows the key of a database, or is told it.
func knownDatabase(name, builtin string) bool {
	_, err := note.NewVerifier(name)
	return err == nil || name == builtin || alias(name, builtin)
}

// alias reports whether a name is the one that go knows beside its default database:
// the same with another ending.
func alias(name, builtin string) bool {
	stem, _, ok := strings.Cut(builtin, ".org")
	return ok && strings.HasPrefix(name, stem+".")
}

// database is the name of a database without its key.
func database(gosumdb string) string {
	name, _, _ := strings.Cut(gosumdb, "+")
	return name
}

// owned makes a pattern of what a token is for.
func owned(place string) string {
	host, owner, _ := strings.Cut(place, "/")
	return host + "/" + cmp.Or(owner, "YOURORG")
}
