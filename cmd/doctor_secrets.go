package cmd

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gomirror/gomirror/serve"
	"github.com/gomirror/gomirror/serve/redact"
)

// userinfo is a password in a URL, or what may be one; bareUserinfo one in the address
// of a proxy without its scheme. Both go up to the last @: a password may hold others.
var (
	userinfo     = regexp.MustCompile(`://(?:[^/\s"]|\\")*@`)
	bareUserinfo = regexp.MustCompile(`\b[^/\s"'=,|@:]+:[^/\s"',|]+@`)
)

// addressWord is what an address goes on for in a text, also in one of JSON. badPort is
// how net/url quotes the start of a password that has a slash in it.
var (
	addressWord = regexp.MustCompile(`^(?:\\"|[^\s"])*`)
	badPort     = regexp.MustCompile(`(invalid port \\*")[^"\\]*`)
)

// withoutSecrets takes out of a text what looks like a secret and what is known as one.
func (h *hider) withoutSecrets(s string) string {
	var known []string
	slices.SortStableFunc(h.secrets, func(a, b string) int { return len(b) - len(a) })
	for _, secret := range h.secrets {
		once := goForm(secret)
		for _, form := range []string{secret, once, goForm(once), jsonForm(secret), jsonForm(once)} {
			known = append(known, form, "REDACTED")
		}
	}
	s = strings.NewReplacer(known...).Replace(serve.Redact(s))
	s = userinfo.ReplaceAllString(s, "://REDACTED@")
	parts := strings.Split(s, "://")
	for i, part := range parts[1:] {
		word := addressWord.FindString(part)
		if at := strings.LastIndexByte(word, '@'); at >= 0 && hasNoPort(word) {
			parts[i+1] = "REDACTED" + part[at:]
		}
	}
	s = badPort.ReplaceAllString(strings.Join(parts, "://"), "${1}REDACTED")
	return bareUserinfo.ReplaceAllString(s, "REDACTED@")
}

// jsonForm is a text as it stands in a string of JSON.
func jsonForm(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		return s
	}
	return string(quoted[1 : len(quoted)-1])
}

// goForm is a text as errors and logs quote it.
func goForm(s string) string {
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

// hasNoPort reports whether what an address has between a colon and the first slash is
// the start of a password.
func hasNoPort(address string) bool {
	host, _, _ := strings.Cut(address, "/")
	host = host[strings.LastIndexByte(host, '@')+1:]
	_, port, ok := strings.Cut(host, ":")
	return ok && !strings.HasPrefix(host, "[") && (port == "" || strings.Trim(port, "0123456789") != "")
}

// hide has a secret taken out of all texts. One that is too short would be in any word.
func (h *hider) hide(secrets ...string) {
	for _, secret := range secrets {
		if len(secret) >= redact.MinSecret {
			h.secrets = append(h.secrets, secret)
		}
	}
}

// hidePasswords does so with those in addresses: without a scheme, or with digits before
// a slash, nothing tells them from other text.
func (h *hider) hidePasswords(addresses ...string) {
	for _, address := range addresses {
		_, user := cutUserinfo(address)
		if _, password, ok := strings.Cut(user, ":"); ok {
			h.hide(user, password)
		}
	}
}

// cutUserinfo takes user and password out of an address, up to its last @.
func cutUserinfo(address string) (shown, user string) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		scheme, rest = "", address
	} else {
		scheme += "://"
	}
	at := strings.LastIndexByte(rest, '@')
	switch {
	case at >= 0:
		return scheme + "REDACTED" + rest[at:], rest[:at]
	case ok && hasNoPort(rest): // what a comma in a password leaves
		return scheme + "REDACTED", rest
	}
	return address, ""
}

// envUserinfo is userinfo in the value of a variable, in which nothing is quoted.
// listEntry is one address of several.
var (
	envUserinfo = regexp.MustCompile(`://[^/\s]*@`)
	listEntry   = regexp.MustCompile(`[^,|\s]+`)
)

// shownValue is the value of a variable as others may see it. Commands and flags may have
// a token in them.
func shownValue(name, value string) string {
	switch name {
	case "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY":
		shown, _ := cutUserinfo(value)
		return shown
	case "GOPROXY", "GOSUMDB", "NO_PROXY", "GOMIRROR_UPSTREAM":
		return shownList(value)
	case "GOFLAGS":
		shown, _ := cutFlags(value)
		return shown
	case "GOCACHEPROG", "AR", "CC", "CXX", "FC", "GCCGO", "PKG_CONFIG":
		program, rest := cutCommand(value)
		if rest != "" {
			return program + " REDACTED"
		}
		return program
	}
	switch {
	case strings.HasPrefix(name, "GOMIRROR_NETWORK_"):
		return shownList(value)
	case value != "" && (name == "GOGCCFLAGS" || strings.HasPrefix(name, "CGO_") && strings.HasSuffix(name, "FLAGS")):
		return "REDACTED"
	}
	return envUserinfo.ReplaceAllString(value, "://REDACTED@")
}

// shownList is a list of addresses without passwords.
func shownList(list string) string {
	return listEntry.ReplaceAllStringFunc(envUserinfo.ReplaceAllString(list, "://REDACTED@"), func(entry string) string {
		shown, _ := cutUserinfo(entry)
		return shown
	})
}

// cutCommand splits a command after the first word.
func cutCommand(command string) (program, rest string) {
	words := strings.Fields(command)
	if len(words) == 0 {
		return "", ""
	}
	return words[0], strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(command), words[0]))
}

// goFlag is one of GOFLAGS, quoted as a whole or not at all. Those in plainFlags say
// nothing that a value of theirs would tell.
var goFlag = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)

const plainFlags = " mod modcacherw modfile tags trimpath buildvcs race p v x count timeout "

// cutFlags takes out of GOFLAGS what may be a secret: -ldflags and others hold anything.
func cutFlags(flags string) (shown string, hidden []string) {
	shown = goFlag.ReplaceAllStringFunc(flags, func(flag string) string {
		bare := strings.TrimLeft(strings.Trim(flag, `'"`), "-")
		name, value, valued := strings.Cut(bare, "=")
		switch {
		case !strings.HasPrefix(strings.TrimLeft(flag, `'"`), "-"): // the rest of one that is not quoted
			hidden = append(hidden, bare)
			return "REDACTED"
		case !valued || strings.Contains(plainFlags, " "+name+" "):
			return flag
		case len(value) < redact.MinSecret:
			value = bare
		}
		hidden = append(hidden, value)
		return "-" + name + "=REDACTED"
	})
	return shown, hidden
}

// hideFlags hides what shownValue does in other texts: the checks repeat the flags.
func (h *hider) hideFlags(flags ...string) {
	for _, list := range flags {
		_, hidden := cutFlags(list)
		h.hide(hidden...)
	}
}
