package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomirror/gomirror/serve/upstream"
)

// entries splits a GOPROXY list as the go command does: behind direct and off it reads
// nothing.
func entries(goproxy string) []string {
	var list []string
	for _, e := range strings.FieldsFunc(goproxy, func(r rune) bool { return r == ',' || r == '|' }) {
		if e = strings.TrimSpace(e); e == "" {
			continue
		}
		if list = append(list, e); e == "direct" || e == "off" {
			break
		}
	}
	return list
}

// shown returns an entry without passwords.
func shown(entry string) string { return upstream.Entry{URL: entry}.String() }

// shownList returns a GOPROXY list without passwords.
func shownList(goproxy string) string {
	var b strings.Builder
	for goproxy != "" {
		i := strings.IndexAny(goproxy, ",|")
		if i < 0 {
			i = len(goproxy)
		}
		b.WriteString(shown(goproxy[:i]))
		if goproxy = goproxy[i:]; goproxy != "" {
			b.WriteByte(goproxy[0])
			goproxy = goproxy[1:]
		}
	}
	return b.String()
}

// namesUs reports whether go asks a gomirror, be it an old address of one.
func namesUs(goproxy string) bool { return slices.ContainsFunc(entries(goproxy), upstream.IsOurs) }

// setUpFix is [setUp] with what has to be done before, so that it prints something.
func (o *Options) setUpFix() string {
	if err := o.Plan().Err; err != nil {
		fix := strings.Replace(hintOf(err, "gomirror status"), plainRestart, o.restart("upstream"), 1)
		return o.inBackground(fix) + " && " + setUp
	}
	return setUp
}

// checkGOPROXY looks whether go asks us, and first.
func (o *Options) checkGOPROXY(g Go) []Finding {
	list, ours := entries(g.Now.GOPROXY), o.Daemon().URL
	at := slices.IndexFunc(list, upstream.IsOurs)
	switch {
	case slices.Equal(list, []string{"off"}):
		return say(Fail, o.unset("GOPROXY")+" && "+setUp, "GOPROXY=off forbids go all downloads")
	case at < 0:
		return o.notSetUp(g)
	case ours == "" || !slices.Contains(list, ours):
		return say(Fail, o.setUpFix(), "GOPROXY names an address that gomirror no longer has")
	case list[0] != ours:
		return say(Fail, o.setUpFix(), "GOPROXY has go ask %s before gomirror", shown(list[0]))
	}
	return say(OK, "", "GOPROXY has go ask gomirror first, then %s", then(list[at+1:]))
}

// then lists what stands behind us.
func then(list []string) string {
	if len(list) == 0 {
		return "nobody"
	}
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = shown(e)
	}
	return strings.Join(names, ", ")
}

// notSetUp is of a shell that has not run gomirror env. What it tells to whom
// meanwhile is worth more than a line.
func (o *Options) notSetUp(g Go) []Finding {
	found := say(Fail, o.setUpFix(), "GOPROXY=%s does not name gomirror, so go does not ask it", shownList(g.Now.GOPROXY))
	if err := o.Plan().Err; err != nil {
		found[0].Detail = append(found[0].Detail, fmt.Sprintf("gomirror env says: %v", err))
	}
	open := uncovered(o.private(g), listed(g.Now.GONOPROXY))
	mirrors := slices.DeleteFunc(entries(g.Now.GOPROXY), silent)
	if len(open) > 0 && len(mirrors) > 0 {
		found[0].Detail = append(found[0].Detail, fmt.Sprintf("until then go names modules of %s to %s", strings.Join(open, ", "), then(mirrors)))
	}
	return found
}

// silent reports whether an entry tells nobody what is asked for. It knows what does
// not, so that what it does not know counts.
func silent(entry string) bool {
	scheme, _, _ := strings.Cut(entry, ":")
	return entry == "direct" || entry == "off" || strings.EqualFold(scheme, "file") || upstream.IsOurs(entry)
}

// private returns all patterns that the user or the sidecar has for private modules.
func (o *Options) private(g Go) []string {
	all := slices.Concat(o.Private, o.Daemon().Status.Private, listed(g.Own.GOPRIVATE), listed(g.Own.GONOPROXY))
	if g.Err != nil { // then these are all that is known of the shell's
		all = slices.Concat(all, listed(o.Getenv("GOPRIVATE")), listed(o.Getenv("GONOPROXY")))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// tokenFor returns what there are tokens for, HOST or HOST/OWNER.
func (o *Options) tokenFor() []string {
	all := slices.Clone(o.Daemon().Status.Tokens)
	if o.Getenv("GOMIRROR_GITHUB_TOKEN") != "" {
		all = append(all, "github.com")
	}
	if o.Tokens != nil {
		stored, _ := o.Tokens.Places() // which A01 tells about
		for _, entry := range stored {
			all = append(all, entry.Place.String())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// checkGONOPROXY looks whether go takes private modules to whoever gomirror env would
// have it take them to: too many past us, and they are not kept; too few, and we ask
// a mirror for them.
func (o *Options) checkGONOPROXY(g Go) []Finding {
	plan := o.Plan()
	switch {
	case !namesUs(g.Now.GOPROXY):
		return say(Skipped, "", "go does not ask gomirror, see E03")
	case plan.Err != nil:
		return say(Skipped, "", "gomirror env prints nothing, see E03")
	}
	have, want := listed(g.Now.GONOPROXY), listed(plan.Vars["GONOPROXY"])
	if past := uncovered(have, want); len(past) > 0 {
		name, why := "GONOPROXY", ""
		if !o.fromShell(name) && g.File[name] == "" {
			name, why = "GOPRIVATE", " as GONOPROXY is empty"
		}
		return say(Fail, setUp, "%s=%s makes go skip gomirror for %s%s", name, g.Now.GONOPROXY, strings.Join(past, ", "), why)
	}
	if lost := uncovered(want, have); len(lost) > 0 {
		return say(Fail, setUp, "GONOPROXY=%s has go ask gomirror for %s, which gomirror does not take for private", g.Now.GONOPROXY, strings.Join(lost, ", "))
	}
	if len(want) > 0 {
		return say(OK, "", "go fetches %s by itself, as before gomirror", strings.Join(want, ", "))
	}
	return say(OK, "", "GONOPROXY keeps nothing from gomirror")
}

// checkBehind looks who would learn private names when we are down, or say 404.
func (o *Options) checkBehind(g Go) []Finding {
	list := entries(g.Now.GOPROXY)
	at := slices.IndexFunc(list, upstream.IsOurs)
	private, tokens := o.private(g), o.tokenFor()
	switch {
	case at < 0:
		return say(Skipped, "", "go does not ask gomirror, see E03")
	case len(private)+len(tokens) == 0:
		return say(OK, "", "nothing is private, so anything may stand behind gomirror")
	}
	mirrors := slices.DeleteFunc(slices.Clone(list), silent)
	if len(mirrors) == 0 {
		return say(OK, "", "no mirror beside gomirror learns private names")
	}
	about := "modules of " + strings.Join(private, ", ")
	if len(private) == 0 {
		about = "what the token for " + strings.Join(tokens, ", ") + " is for"
	}
	return say(Fail, o.setUpFix(), "GOPROXY also names %s, which learns the names of %s when gomirror is down", then(mirrors), about)
}
