package cmd

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/gomirror/gomirror/doctor"
)

// addresses are what the traffic of a user goes by, here or in a sidecar.
type addresses struct {
	upstreams []string // lists as GOPROXY has them
	proxies   []string // of HTTP
	others    []string // lists of hosts: what is reached past those, what is a name of ours
}

// addressesOf looks at all places that have any.
func addressesOf(env *Env, look doctor.Options) (a addresses) {
	g, shown := look.Go(), look.Settings
	a.upstreams = []string{look.Upstream, env.Getenv("GOPROXY"), env.Getenv("GOMIRROR_UPSTREAM"),
		g.Now.GOPROXY, g.Own.GOPROXY, g.File["GOPROXY"]}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		a.proxies = append(a.proxies, env.Getenv(name), env.Getenv(strings.ToLower(name)))
	}
	a.others = []string{env.Getenv("NO_PROXY"), env.Getenv("no_proxy"), env.Getenv("GOMIRROR_ALLOW_HOST")}
	databases := []string{env.Getenv("GOSUMDB"), g.Now.GOSUMDB, g.Own.GOSUMDB, g.File["GOSUMDB"]}
	for _, st := range told(look) {
		a.upstreams, shown = append(a.upstreams, st.Upstream), slices.Concat(shown, st.Settings)
		databases = append(databases, st.GOSUMDB)
		if st.Network != nil {
			a.proxies = append(a.proxies, st.Network.HTTPProxy, st.Network.HTTPSProxy)
			a.others = append(a.others, st.Network.NoProxy)
		}
	}
	for _, s := range shown {
		switch s.Name {
		case "upstream":
			a.upstreams = append(a.upstreams, s.Value)
		case "allow_host":
			a.others = append(a.others, s.Value)
		}
	}
	for _, database := range databases { // NAME+HASH+KEY, and an address as upstreams have it
		name, address, _ := strings.Cut(strings.TrimSpace(database), " ")
		name, _, _ = strings.Cut(name, "+")
		a.upstreams, a.others = append(a.upstreams, address), append(a.others, name)
	}
	return a
}

// portEnd is a port behind a host.
var portEnd = regexp.MustCompile(`:\d+$`)

// places finds the upstreams that have a path or a query, which may be a token. What
// follows is a module, and stays. builtin is the list of the go command's own.
func (a addresses) places(builtin string) (rules []hideRule) {
	public := listEntry.FindAllString(builtin, -1)
	add := func(found string) {
		found = strings.ToValidUTF8(strings.ReplaceAll(found, "&", `(?:&|\\u0026)`), ".+") // the first is of JSON
		rules = append(rules, hideRule{regexp.MustCompile(`(?i)` + found), "upstream"})
	}
	for _, list := range a.upstreams {
		for _, entry := range listEntry.FindAllString(list, -1) {
			if slices.Contains(public, entry) {
				continue
			}
			for _, address := range afterScheme(entry) {
				address, query, _ := strings.Cut(address, "?")
				host, path, _ := strings.Cut(strings.TrimRight(address, "/"), "/")
				if host != "" && path != "" {
					add(regexp.QuoteMeta(portEnd.ReplaceAllString(host, "")) + `(?::\d+)?/` + regexp.QuoteMeta(path))
				}
				if query != "" {
					add(`\?` + regexp.QuoteMeta(query))
				}
			}
		}
	}
	return rules
}

// afterScheme returns an address from its host on. A password may hold what should be
// escaped in it, and a path an @: then there are two.
func afterScheme(address string) []string {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		address = rest
	}
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		return []string{address, address[at+1:]}
	}
	return []string{address}
}

// hosts are those of a company that a bundle would name: all but the public ones.
// Addresses name nobody.
func (a addresses) hosts(public []string) []string {
	var hosts []string
	public = append(public, "sum.golang.org", "sum.golang.google.cn")
	for _, proxy := range a.proxies {
		// Of one label, and no plain word, which would be in any text.
		rest := afterScheme(proxy)
		if host := hostOf(rest[len(rest)-1]); host != "" && !strings.Contains(host, ".") && !slices.Contains([]string{"localhost", "direct", "off", "proxy", "http", "https"}, host) {
			hosts = append(hosts, host)
		}
	}
	for _, list := range slices.Concat(a.upstreams, a.proxies, a.others) {
		for _, host := range hostsIn(list) {
			if !slices.Contains(public, host) && !slices.Contains(hosts, host) && !isForge(host) {
				hosts = append(hosts, host)
			}
		}
	}
	return hosts
}

// hostsIn returns the named hosts in a list as GOPROXY or NO_PROXY has it.
func hostsIn(list string) []string {
	var hosts []string
	for word := range strings.FieldsFuncSeq(list, func(r rune) bool { return strings.ContainsRune(",| \t", r) }) {
		for _, rest := range afterScheme(word) {
			if host := hostOf(rest); strings.Contains(host, ".") && !strings.HasPrefix(host, "localhost.") {
				hosts = append(hosts, host)
			}
		}
	}
	return hosts
}

// hostOf returns the host that an address begins with, "" if that is no name.
func hostOf(address string) string {
	u, err := url.Parse("//" + address)
	if err != nil {
		return ""
	}
	host := strings.TrimPrefix(strings.TrimLeft(strings.ToLower(u.Hostname()), "*"), ".")
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	return host
}
