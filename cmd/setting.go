package cmd

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/gomirror/gomirror/serve/prefetch"
	"github.com/gomirror/gomirror/serve/upstream"
)

// settingKey is one setting as the user sees it.
type settingKey struct {
	name  string                   // in config.toml, tables joined by dots
	usage string                   // one line
	field func(*settings) any      // *string, *[]string or *bool
	check func(value string) error // nil: any
	path  bool                     // relative to where it was written

	example string // a value that would do
}

// settingKeys returns all settings in the order in which they are listed.
func settingKeys() []settingKey {
	return []settingKey{
		{name: "upstream", usage: "where to fetch from, a GOPROXY `list`", example: "https://MIRROR,direct",
			field: func(s *settings) any { return &s.upstream }, check: checkUpstream},
		{name: "private", usage: "private module `patterns`, as in GOPRIVATE", example: "github.com/YOURORG",
			field: func(s *settings) any { return &s.private }, check: checkPattern},
		{name: "listen", usage: "loopback `address` to listen on", example: "127.0.0.1:0",
			field: func(s *settings) any { return &s.listen }, check: checkListen},
		{name: "cache.dir", usage: "`folder` of the cache", example: "DIR",
			field: func(s *settings) any { return &s.cacheDir }, path: true},
		{name: "network.ca_file", usage: "`file` of more root certificates (PEM)", example: "FILE",
			field: func(s *settings) any { return &s.caFile }, path: true},
		{name: "network.hosts", usage: "git `hosts` that may have addresses inside your network", example: "git.example.com",
			field: func(s *settings) any { return &s.hosts }, check: checkHost},
		{name: "network.peer_check", usage: "refuse connections of other users (Linux)", example: "true",
			field: func(s *settings) any { return &s.peerCheck }},
		{name: "github.client_id", usage: "client `id` of the OAuth app for auth login --web", example: "ID",
			field: func(s *settings) any { return &s.clientID }, check: checkClientID},
		{name: "allow_host", usage: "more Host headers to accept, `host:port`", example: "localhost:PORT",
			field: func(s *settings) any { return &s.allowHosts }},
		{name: "prefetch", usage: "fetch ahead what go will ask for: `off|metadata|full`", example: "metadata",
			field: func(s *settings) any { return &s.prefetch }, check: checkPrefetch},
		{name: "prefetch_budget", usage: "most `bytes` of zips fetched ahead that nobody has asked for yet", example: "16MiB",
			field: func(s *settings) any { return &s.budget }, check: checkSize},
		{name: "offline", usage: "ask no upstream", example: "true",
			field: func(s *settings) any { return &s.offline }},
	}
}

// findKey returns the setting of that name, or a usage error with the nearest name
// in place of KEY in the command that hint is.
func findKey(name, hint string) (settingKey, error) {
	var names []string
	for _, k := range settingKeys() {
		if k.name == name {
			return k, nil
		}
		names = append(names, k.name)
	}
	near := nearest(name, names)
	if near == "" {
		return settingKey{}, usagef("gomirror config list", "unknown setting %q", name)
	}
	return settingKey{}, usagef(strings.Replace(hint, "KEY", near, 1), "unknown setting %q, the nearest is %q", name, near)
}

// flag is the name of the flag that sets k, where a command has it.
func (k settingKey) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(k.name) }

// variable is the environment variable that sets k.
func (k settingKey) variable() string {
	return "GOMIRROR_" + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

// setting is a command that gives k a value.
func (k settingKey) setting() string { return "gomirror config set " + k.name + " " + k.example }

// set parses value into s. origin is for the error and for `config list`, hint for
// the error; dir is what a relative path is relative to.
func (k settingKey) set(s *settings, value, origin, dir, hint string) error {
	if err := k.parse(s, value, dir); err != nil {
		return usagef(hint, "read %s from %s: %w", k.name, origin, err)
	}
	s.origins[k.name] = origin
	return nil
}

// parse checks value and stores it, lists element by element.
func (k settingKey) parse(s *settings, value, dir string) error {
	check := func(v string) error {
		if k.check == nil || v == "" {
			return nil
		}
		return k.check(v)
	}
	switch field := k.field(s).(type) {
	case *bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("want true or false, not %q", value)
		}
		*field = b
	case *[]string:
		*field = nil
		for v := range strings.SplitSeq(value, ",") {
			if v = strings.TrimSpace(v); v == "" {
				continue
			}
			if err := check(v); err != nil {
				return err
			}
			*field = append(*field, v)
		}
	case *string:
		if err := check(value); err != nil {
			return err
		}
		if k.path && value != "" {
			value = absolute(value, dir)
			if !filepath.IsAbs(value) {
				return fmt.Errorf("%q is relative to a folder that is gone", value)
			}
		}
		*field = value
	}
	return nil
}

// value returns k's value in s as JSON shows it.
func (k settingKey) value(s *settings) any {
	switch field := k.field(s).(type) {
	case *bool:
		return *field
	case *[]string:
		return append([]string{}, *field...) // [], not null
	case *string:
		return *field
	}
	return nil
}

// text returns k's value in s as `config set` takes it.
func (k settingKey) text(s *settings) string {
	if list, ok := k.value(s).([]string); ok {
		return strings.Join(list, ",")
	}
	return fmt.Sprint(k.value(s))
}

// checkHost refuses what trusts more hosts than anybody can have, or none.
func checkHost(pattern string) error {
	example := strings.Replace(pattern, "*", "x", 1)
	if !upstream.MatchHost([]string{pattern})(example) {
		return fmt.Errorf("want a host, or *.DOMAIN with two labels in DOMAIN, not %q", pattern)
	}
	return nil
}

// checkClientID refuses what looks like the secret that belongs to an id: the device
// flow needs none, and config.toml is no place for one.
func checkClientID(id string) error {
	if len(id) > 30 || !regexp.MustCompile(`^[A-Za-z0-9._-]+$`).MatchString(id) {
		return errors.New("want the client id of an OAuth app, about 20 letters and digits")
	}
	return nil
}

func checkPrefetch(mode string) error {
	_, err := prefetch.ParseMode(mode)
	return err
}

func checkSize(text string) error {
	_, err := parseSize(text)
	return err
}

// checkListen accepts loopback only: gomirror hands out private code, and whatever
// else listens on the network needs TLS and holds no token.
func checkListen(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("want HOST:PORT, not %q", addr)
	}
	if host != "127.0.0.1" && host != "::1" {
		return fmt.Errorf("%q is not on 127.0.0.1 or [::1]: gomirror serves this machine only", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is not a port number", port)
	}
	return nil
}
