package cmd

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/gomirror/gomirror/doctor"
)

// proxyHosts are the hosts of a company that a bundle would name: those of module
// proxies other than the go command's own, of HTTP proxies, and those that are reached
// past them. Addresses name nobody.
func proxyHosts(env *Env, look doctor.Options) []string {
	g, shown := look.Go(), look.Settings
	lists := []string{look.Upstream, env.Getenv("GOPROXY"), env.Getenv("GOMIRROR_UPSTREAM"),
		g.Now.GOPROXY, g.Own.GOPROXY, g.File["GOPROXY"]}
	networks := []doctor.Network{doctor.NetworkOf(env.Getenv, "")}
	for _, st := range told(look) {
		lists, shown = append(lists, st.Upstream), slices.Concat(shown, st.Settings)
		if st.Network != nil {
			networks = append(networks, *st.Network)
		}
	}
	for _, s := range shown {
		if s.Name == "upstream" {
			lists = append(lists, s.Value)
		}
	}
	for _, n := range networks {
		lists = append(lists, n.HTTPProxy, n.HTTPSProxy, n.NoProxy)
	}
	lists = append(lists, env.Getenv("ALL_PROXY"), env.Getenv("all_proxy"))
	public := hostsIn(g.Builtin.GOPROXY)
	var hosts []string
	for _, list := range lists {
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
		_, address, ok := strings.Cut(word, "://")
		if !ok {
			address = word
		}
		// A password may hold what should be escaped in it, and a path an @.
		for _, rest := range []string{address, address[strings.LastIndexByte(address, '@')+1:]} {
			u, err := url.Parse("//" + rest)
			if err != nil {
				continue
			}
			host := strings.TrimPrefix(strings.TrimLeft(strings.ToLower(u.Hostname()), "*"), ".")
			if _, err := netip.ParseAddr(host); err != nil && strings.Contains(host, ".") && !strings.HasPrefix(host, "localhost.") {
				hosts = append(hosts, host)
			}
		}
	}
	return hosts
}
