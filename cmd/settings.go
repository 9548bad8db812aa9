package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/adrg/xdg"
	"github.com/spf13/pflag"
)

// settings is what the user wants, from the first of: flag, GOMIRROR_* variable,
// config.toml, default.
type settings struct {
	upstream   string   // a GOPROXY list; "" means what `go env GOPROXY` says
	private    []string // patterns as in GOPRIVATE
	listen     string   // host:port; "" means the address of last time
	cacheDir   string
	caFile     string   // more root certificates, PEM
	hosts      []string // may have addresses inside the user's network
	peerCheck  bool     // Linux: refuse connections of other users
	allowHosts []string
	offline    bool

	origins  map[string]string // by key: a flag, a variable, a file or "default"
	stateDir string
	file     string // config.toml, whether it exists or not
}

// settingKey is one setting as the user sees it.
type settingKey struct {
	name  string                   // in config.toml, tables joined by dots
	usage string                   // one line
	field func(*settings) any      // *string, *[]string or *bool
	check func(value string) error // nil: any
	path  bool                     // relative to where it was written
}

// settingKeys returns all settings in the order in which they are listed.
func settingKeys() []settingKey {
	return []settingKey{
		{name: "upstream", usage: "where to fetch from, a GOPROXY `list`", field: func(s *settings) any { return &s.upstream }, check: checkUpstream},
		{name: "private", usage: "private module `patterns`, as in GOPRIVATE", field: func(s *settings) any { return &s.private }, check: checkPattern},
		{name: "listen", usage: "loopback `address` to listen on", field: func(s *settings) any { return &s.listen }, check: checkListen},
		{name: "cache.dir", usage: "`folder` of the cache", field: func(s *settings) any { return &s.cacheDir }, path: true},
		{name: "network.ca_file", usage: "`file` of more root certificates (PEM)", field: func(s *settings) any { return &s.caFile }, path: true},
		{name: "network.hosts", usage: "git `hosts` that may have addresses inside your network", field: func(s *settings) any { return &s.hosts }},
		{name: "network.peer_check", usage: "refuse connections of other users (Linux)", field: func(s *settings) any { return &s.peerCheck }},
		{name: "allow_host", usage: "more Host headers to accept, `host:port`", field: func(s *settings) any { return &s.allowHosts }},
		{name: "offline", usage: "ask no upstream", field: func(s *settings) any { return &s.offline }},
	}
}

// findKey returns the setting of that name, or a usage error with the nearest name.
func findKey(name string) (settingKey, error) {
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
	return settingKey{}, usagef("gomirror config get "+near, "unknown setting %q, the nearest is %q", name, near)
}

// flag is the name of the flag that sets k, where a command has it.
func (k settingKey) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(k.name) }

// variable is the environment variable that sets k.
func (k settingKey) variable() string {
	return "GOMIRROR_" + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

// set parses value into s. origin is for the error and for `config list`; dir is
// what a relative path is relative to.
func (k settingKey) set(s *settings, value, origin, dir string) error {
	if err := k.parse(s, value, dir); err != nil {
		return usagef("gomirror config list --show-origin", "read %s (%s): %w", k.name, origin, err)
	}
	s.origins[k.name] = origin
	return nil
}

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

// loadSettings reads all settings. flags may be nil or lack any of them.
func loadSettings(env *Env, flags *pflag.FlagSet) (*settings, error) {
	s, err := defaultSettings()
	if err != nil {
		return nil, err
	}
	file, err := readConfigFile(s.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	wd, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the current folder: %w", err)
	}
	for _, k := range settingKeys() {
		if value, ok := file[k.name]; ok {
			text, err := fileValue(k, value)
			if err != nil {
				return nil, usagef("edit "+s.file, "read %s in %s: %w", k.name, s.file, err)
			}
			if err := k.set(s, text, s.file, filepath.Dir(s.file)); err != nil {
				return nil, err
			}
		}
		if value := env.Getenv(k.variable()); value != "" { // empty is unset, as to the go command
			if err := k.set(s, value, k.variable(), wd); err != nil {
				return nil, err
			}
		}
		if value, ok := flagValue(flags, k.flag()); ok {
			if err := k.set(s, value, "--"+k.flag(), wd); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// defaultSettings resolves the XDG folders, which adrg/xdg has read at start.
func defaultSettings() (*settings, error) {
	for _, dir := range []string{xdg.ConfigHome, xdg.CacheHome, xdg.StateHome} {
		if !filepath.IsAbs(dir) {
			return nil, failf("export HOME=/path/to/your/home", "find the config, cache and state folders: no home folder is set")
		}
	}
	s := &settings{
		cacheDir:  filepath.Join(xdg.CacheHome, "gomirror"),
		peerCheck: true,
		stateDir:  filepath.Join(xdg.StateHome, "gomirror"),
		file:      filepath.Join(xdg.ConfigHome, "gomirror", "config.toml"),
		origins:   map[string]string{},
	}
	for _, k := range settingKeys() {
		s.origins[k.name] = "default"
	}
	return s, nil
}

func flagValue(flags *pflag.FlagSet, name string) (string, bool) {
	if flags == nil || !flags.Changed(name) {
		return "", false
	}
	f := flags.Lookup(name)
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return strings.Join(list.GetSlice(), ","), true
	}
	return f.Value.String(), true
}

// absolute makes a path from a setting absolute. "~/" is the user's home also where
// no shell has seen it, in config.toml.
func absolute(path, dir string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(xdg.Home, rest)
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
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
