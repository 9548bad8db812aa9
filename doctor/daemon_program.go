package doctor

import (
	"cmp"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gomirror/gomirror/serve/upstream"
)

// checkProgram finds a sidecar that is left over from before an upgrade.
func (o *Options) checkProgram() []Finding {
	d := o.Daemon()
	if !d.Running {
		return say(Skipped, "", "gomirror does not run, see D01")
	}
	st := d.Status
	if st.Version != o.Version {
		return say(Warn, o.restart(), "version %s runs, and this is version %s", cmp.Or(st.Version, "unknown"), o.Version)
	}
	if st.Exe == "" {
		return say(OK, "", "version %s runs", st.Version)
	}
	info, err := os.Stat(st.Exe)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return say(Warn, o.restart(), "the gomirror that runs was started from %s, which is gone", st.Exe)
	case err != nil: // not ours to look at, which is no fault
		return say(OK, "", "version %s runs", st.Version)
	case info.ModTime().After(st.Started):
		return say(Warn, o.restart(), "%s has changed since gomirror was started from it on %s", st.Exe, st.Started.Local().Format(time.DateTime))
	}
	own, err := os.Stat(o.Exe)
	if err == nil && !os.SameFile(info, own) && !strings.HasPrefix(st.Version, "v") {
		// Versions of releases tell more than paths; those of one's own builds do not.
		return say(Warn, o.restart(), "the gomirror that runs was started from %s, and this is %s", st.Exe, o.Exe)
	}
	return say(OK, "", "version %s runs, started from %s", st.Version, st.Exe)
}

// checkLoop looks for our own address among the upstreams. With the capability in it it
// is left out of the list by itself; without, all it ever answers is 404.
func (o *Options) checkLoop() []Finding {
	d := o.Daemon()
	port := portOf(cmp.Or(d.Status.Address, d.Addr))
	if port == "" {
		return say(Skipped, "", "gomirror has no address yet that an upstream could name")
	}
	const text = "the upstream list names gomirror's own address, port %s, where only its own requests arrive"
	setting, loops := withoutPort(o.Upstream, port)
	fromGo, goLoops := "", false
	if o.Upstream == "" {
		fromGo, goLoops = withoutPort(o.Go().Own.GOPROXY, port)
	}
	_, runs := withoutPort(d.Status.Upstream, port)
	switch origin := o.Origins["upstream"]; {
	case loops && strings.HasPrefix(origin, "GOMIRROR_"):
		return say(Fail, "unset "+origin+"; "+o.restart("upstream"), text, port)
	case loops:
		return say(Fail, o.setUpstream(setting), text, port)
	case goLoops:
		return say(Fail, o.setUpstream(fromGo), text, port)
	case runs: // from a flag or an environment that are not those of this shell
		return say(Fail, o.restart("upstream"), text, port)
	case upstream.Strip(o.Upstream) != o.Upstream:
		return say(OK, "", "the upstream list names the address of a gomirror on this machine, which is left out")
	}
	return say(OK, "", "no upstream leads back to gomirror")
}

// setUpstream is the command that makes list the upstream list, or that of the go
// command if nothing is left of it.
func (o *Options) setUpstream(list string) string {
	entries, err := upstream.ParseList(list)
	if err != nil || strings.Contains(list, "@") { // a password is nothing to print
		entries, err = upstream.ParseList(o.Go().Builtin.GOPROXY)
	}
	if err != nil {
		return "gomirror config set upstream direct; " + o.restart("upstream")
	}
	var b strings.Builder
	for i, e := range entries {
		b.WriteString(e.String())
		if i < len(entries)-1 && e.FallBackOnError {
			b.WriteString("|")
		} else if i < len(entries)-1 {
			b.WriteString(",")
		}
	}
	return "gomirror config set upstream " + quoted(b.String()) + "; " + o.restart("upstream")
}

// quoted makes a word of text for a POSIX shell. It leaves plain ones as they are.
func quoted(text string) string {
	plain := !strings.ContainsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:,@%+=~", r))
	})
	if plain && text != "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// withoutPort returns a list without the entries that lead to a port of this machine,
// and whether there were any.
func withoutPort(list, port string) (rest string, any bool) {
	if list == "" {
		return "", false
	}
	entries := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == '|' })
	for _, entry := range entries {
		u, err := url.Parse(strings.TrimSpace(entry))
		if err != nil || upstream.IsOurs(entry) || u.Port() != port || !loopbackHost(u.Hostname()) {
			continue
		}
		any = true
		at := strings.Index(list, entry)
		list = strings.Trim(list[:at]+strings.TrimLeft(list[at+len(entry):], ",|"), ",|")
	}
	return list, any
}

func loopbackHost(host string) bool {
	if slices.Contains([]string{"localhost", "ip6-localhost"}, strings.ToLower(strings.TrimSuffix(host, "."))) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.Unmap().IsLoopback() || ip.IsUnspecified())
}

func portOf(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return port
}
