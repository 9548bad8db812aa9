package cmd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adrg/xdg"
	"github.com/spf13/pflag"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve"
	"github.com/gomirror/gomirror/serve/prefetch"
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
	prefetch   string // a prefetch.Mode
	budget     string // of prefetch, a size
	clientID   string // of the OAuth app for auth login --web

	origins  map[string]string // by key: a flag, a variable, a file or "default"
	stateDir string
	file     string // config.toml, whether it exists or not
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
		wd = "" // removed under us: only a relative path in a flag or variable needs it
	}
	// From the weakest source to the strongest: each overwrites what came before.
	// Every value is checked, also one that is overwritten, so that a mistake does not
	// wait for the day when the stronger source is gone.
	for _, k := range settingKeys() {
		if value, ok := file[k.name]; ok {
			text, err := fileValue(k, value)
			if err != nil {
				return nil, usagef(k.setting(), "read %s in %s: %w", k.name, s.file, err)
			}
			if err := k.set(s, text, s.file, filepath.Dir(s.file), k.setting()); err != nil {
				return nil, err
			}
		}
		if value := env.Getenv(k.variable()); value != "" { // empty is unset, as to the go command
			if err := k.set(s, value, k.variable(), wd, "unset "+k.variable()); err != nil {
				return nil, err
			}
		}
		if value, ok := flagValue(flags, k.flag()); ok {
			if err := k.set(s, value, "--"+k.flag(), wd, "--"+k.flag()+" "+k.example); err != nil {
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
		prefetch:  string(prefetch.Full),
		budget:    size(prefetch.DefaultBudget),
		stateDir:  filepath.Join(xdg.StateHome, "gomirror"),
		file:      filepath.Join(xdg.ConfigHome, "gomirror", "config.toml"),
		origins:   map[string]string{},
	}
	for _, k := range settingKeys() {
		s.origins[k.name] = "default"
	}
	return s, nil
}

// shown returns all settings without passwords.
func (s *settings) shown() []doctor.Setting {
	var all []doctor.Setting
	for _, k := range settingKeys() {
		one := doctor.Setting{Name: k.name, Value: serve.Redact(doctor.HideUserinfo(k.text(s))), From: s.origins[k.name]}
		if slices.Contains(serveSettings(), k.name) {
			one.Flag = "--" + k.flag()
		}
		all = append(all, one)
	}
	return all
}

// network is what a process with these settings goes by on its way to others.
func (e *Env) network(s *settings) *doctor.Network {
	n := doctor.NetworkOf(e.Getenv, s.caFile).WithoutPasswords()
	return &n
}

// fromFlags reports whether any setting was given on the command line.
func (s *settings) fromFlags() bool {
	for _, k := range settingKeys() {
		if s.origins[k.name] == "--"+k.flag() {
			return true
		}
	}
	return false
}

// flagValue returns a flag as text, if it was given. A list flag may be given twice.
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
