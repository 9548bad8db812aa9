package doctor

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Setting is one of gomirror's own, as `gomirror status --json` has it.
type Setting struct {
	Name  string `json:"name"`           // as in config.toml: "cache.dir"
	Value string `json:"value"`          // as config set takes it, without passwords
	From  string `json:"from"`           // a flag, a variable, a file or "default"
	Flag  string `json:"flag,omitempty"` // of serve; "" if it has none for this
}

// given reports whether it came with the command that started the sidecar: then
// another start may not have it.
func (s Setting) given() bool {
	return strings.HasPrefix(s.From, "--") || strings.HasPrefix(s.From, "GOMIRROR_")
}

// variable is the one that gives the setting its value.
func (s Setting) variable() string {
	return "GOMIRROR_" + strings.ToUpper(strings.ReplaceAll(s.Name, ".", "_"))
}

// filled is the value with room for the password that nobody has told us.
func (s Setting) filled() string { return fillable(s.Value) }

// Spelt is the flag with the value, as a shell takes it.
func (s Setting) Spelt() string {
	switch value := s.filled(); value {
	case "true":
		return s.Flag
	case "false", "":
		return s.Flag + "=" + value
	default:
		return s.Flag + " " + quoted(value)
	}
}

// plainRestart is how a sidecar comes to read its settings again.
const plainRestart = "gomirror stop; " + plainStart

const plainStart = "gomirror serve --background"

// restart is plainRestart with what the sidecar was given by flags and variables that
// this shell does not have: who follows our advice must not have it forget what is
// private, or where its cache is. less are the settings that are to change.
func (o *Options) restart(less ...string) string { return "gomirror stop; " + o.start(less...) }

// Restart is the command that starts the sidecar of o anew and has it lose nothing but
// what less names.
func Restart(o Options, less ...string) string { return o.restart(less...) }

// KeepGiven is a fix that was made without a look at the sidecar of o, with what the
// sidecar was given.
func KeepGiven(o Options, fix string) string {
	if before, ok := strings.CutSuffix(fix, plainRestart); ok {
		return before + o.restart("offline")
	}
	return fix
}

// start is the second half of restart.
func (o *Options) start(less ...string) string {
	vars, flags := o.given(less)
	command := strings.Join(append([]string{plainStart}, flags...), " ")
	if o.GOOS == "windows" {
		for i, v := range vars {
			name, value, _ := strings.Cut(v, "=")
			vars[i] = fmt.Sprintf("$env:%s = '%s';", name, value)
		}
	} else {
		for i, v := range vars {
			name, value, _ := strings.Cut(v, "=")
			vars[i] = name + "=" + quoted(value)
		}
	}
	return strings.Join(append(vars, command), " ")
}

// given returns what the sidecar has and one that is started in this shell would not:
// as flags of serve, and where there is none as variables.
func (o *Options) given(less []string) (vars, flags []string) {
	st := o.started()
	for _, s := range st.Settings {
		// Its address is kept by itself.
		if !s.given() || s.Name == "private" || s.Name == "listen" || slices.Contains(less, s.Name) || o.setting(s.Name).Value == s.Value {
			continue
		}
		if s.Flag == "" {
			vars = append(vars, s.variable()+"="+s.filled())
		} else {
			flags = append(flags, s.Spelt())
		}
	}
	if lost := uncovered(st.Served, o.Private); len(lost) > 0 && !slices.Contains(less, "private") {
		flags = append(flags, "--private "+quoted(strings.Join(slices.Concat(o.Private, lost), ",")))
	}
	return append(vars, o.goGiven(less)...), flags
}

// goGiven is given for Go's own variables. They decide who hears of which module, too.
func (o *Options) goGiven(less []string) (vars []string) {
	st := o.started()
	if st.Settings == nil {
		return nil
	}
	own := o.Go().Own
	list := func(name string, own, lost []string) {
		if len(lost) > 0 {
			vars = append(vars, name+"="+strings.Join(slices.Concat(own, lost), ","))
		}
	}
	known := slices.Concat(o.Private, st.Served, listed(own.GOPRIVATE), listed(own.GONOPROXY))
	list("GOPRIVATE", listed(own.GOPRIVATE), uncovered(st.Private, known))
	list("GONOSUMDB", listed(own.GONOSUMDB), uncovered(listed(st.GONOSUMDB), slices.Concat(st.Unasked, listed(own.GONOSUMDB))))
	if st.GOSUMDB == "off" && own.GOSUMDB != "off" {
		vars = append(vars, "GOSUMDB=off")
	}
	if o.goUpstream() != "" && !slices.Contains(less, "upstream") {
		vars = append(vars, "GOPROXY="+o.goUpstream())
	}
	return vars
}

// goUpstream is the GOPROXY of another shell that the sidecar has its upstreams from, ""
// if they are those of this shell or a setting.
func (o *Options) goUpstream() string {
	st := o.started()
	set := slices.ContainsFunc(slices.Concat(st.Settings, o.Settings), func(s Setting) bool { return s.Name == "upstream" && s.Value != "" })
	own := cmp.Or(bareList(o.Go().Own.GOPROXY), bareList(o.Go().Builtin.GOPROXY))
	if st.Settings == nil || set || own == "" || own == st.Upstream {
		return ""
	}
	return st.Upstream
}

// started is what the sidecar says about itself, or has said that was there before and is
// to be started again.
func (o *Options) started() DaemonStatus {
	if d := o.Daemon(); !d.Running {
		return d.Last
	}
	return o.Daemon().Status
}

// setting returns a setting of this shell, the zero one if it is not known.
func (o *Options) setting(name string) Setting {
	if i := slices.IndexFunc(o.Settings, func(s Setting) bool { return s.Name == name }); i >= 0 {
		return o.Settings[i]
	}
	return Setting{}
}

// hiddenUser is what stands where a user and a password were.
const hiddenUser = "REDACTED@"

// userinfoForm is what may be a user and a password in an address, with a scheme or
// without. It goes up to the last @: a password may hold others, and slashes that should
// have been escaped, by which it is told from a port.
var userinfoForm = regexp.MustCompile(`(^|://|[,|])(?:[^/\s,|@:]+:[^/\s,|@]*[^0-9/\s,|@][^/\s,|@]*/[^\s,|]*@|[^/\s,|]*@)`)

// HideUserinfo takes user and password out of the addresses in a list.
func HideUserinfo(list string) string { return userinfoForm.ReplaceAllString(list, "${1}"+hiddenUser) }

// hideProxyUser does so for the address of an HTTP proxy, which has no path and so ends
// its password with the last @ in any case.
func hideProxyUser(address string) string {
	scheme, _, ok := strings.Cut(address, "://")
	at := strings.LastIndexByte(address, '@')
	switch {
	case at < 0:
		return address
	case ok && len(scheme) < at:
		return scheme + "://" + hiddenUser + address[at+1:]
	}
	return hiddenUser + address[at+1:]
}

// fillable is a list with the passwords for the user to fill in: who copies a command
// from a screen pastes it elsewhere, too.
func fillable(list string) string {
	return strings.ReplaceAll(HideUserinfo(list), hiddenUser, "USER:PASSWORD@")
}

// checkOwnSettings is D07: the settings that count are those of the start, and in some
// other shell they may have been others than here.
func (o *Options) checkOwnSettings() []Finding {
	d := o.Daemon()
	switch {
	case !d.Running:
		return say(Skipped, "", "gomirror does not run, see D01")
	case o.SettingsErr != nil:
		return say(Skipped, "", "the settings of this shell can't be read, see E11")
	case d.Status.Settings == nil:
		return say(Skipped, "", "the gomirror that runs does not tell its settings, see D04")
	case d.Status.Offline && !o.ownOffline():
		return say(Warn, o.restart("offline"), "gomirror runs offline, as it was started so; the settings of this shell do not say that")
	}
	var stale, names, apart []string
	for _, s := range d.Status.Settings {
		own := o.setting(s.Name)
		switch {
		case own.Name == "" || own.Value == s.Value || slices.Contains([]string{"private", "listen", "github.client_id"}, s.Name):
			// Patterns are read anew; E04 tells where they are not.
		case s.given():
			apart = append(apart, s.Name)
		default:
			names = append(names, s.Name)
			stale = append(stale, fmt.Sprintf("%s = %q, and %s has %q", s.Name, s.Value, own.From, own.Value))
		}
	}
	if len(stale) > 0 {
		return say(Warn, o.restart(names...), "gomirror goes by settings from before a change: %s", strings.Join(stale, "; "))
	}
	if name := o.otherNetwork(); name != "" {
		apart = append(apart, name)
	}
	if o.goUpstream() != "" {
		apart = append(apart, "GOPROXY")
	}
	if len(apart) > 0 {
		return say(OK, "", "gomirror goes by what it was started with, which is not all that this shell has: %s", strings.Join(apart, ", "))
	}
	return say(OK, "", "gomirror goes by the settings of this shell")
}

// ownOffline reports whether the settings of this shell want no upstream to be asked,
// whatever doctor was told.
func (o *Options) ownOffline() bool { return o.setting("offline").Value == "true" }
