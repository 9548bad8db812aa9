package doctor

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
	"github.com/gomirror/gomirror/serve/daemon"
)

// Options is what the checks may look at. A func field that asks something is asked by
// many checks at once and answers each the same: cmd wraps it in sync.OnceValue.
type Options struct {
	Getenv   func(string) string
	Environ  func() []string
	Exec     func(ctx context.Context, dir string, environ []string, name string, args ...string) ([]byte, error)
	LookPath func(string) (string, error) // nil means exec.LookPath
	Now      func() time.Time
	GOOS     string // as runtime.GOOS
	Exe      string // our own program
	Version  string // our own

	Dir        string // the current one, "" if it is gone
	StateDir   string
	CacheDir   string
	ConfigFile string // whether it exists or not

	// The settings, and by the name of each where it comes from: a variable, a file or
	// "default".
	Upstream string   // "" where it is Go's
	Private  []string // patterns of the setting, not of GOPRIVATE
	CAFile   string
	Hosts    []string // may have addresses inside the user's network
	Offline  bool     // ask nothing beyond this machine
	Origins  map[string]string
	Settings []Setting // all of them, as the sidecar tells its own

	// SettingsErr is why the settings above are the defaults. It may have a Hint.
	SettingsErr error

	Go     func() Go     // the go command
	Plan   func() Plan   // what `gomirror env` would do here
	Daemon func() Daemon // the sidecar

	Tokens   *credential.Store
	Keychain credential.Keychain // as the store has it
	GitHub   *github.Client

	// Space asks for the file system of a folder that exists. nil means the real thing; it
	// stands in for disks that are full in tests.
	Space func(dir string) (Space, error)

	// What stands in for the network in tests. nil means the real thing.
	Dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	Resolvers []string // host:port of DNS servers; nil means the system's
	Roots     *x509.CertPool
	Lookup    func(ctx context.Context, host string) ([]netip.Addr, error) // the system's resolver
	HostsFile string                                                       // "" means the system's
}

// Checks returns all checks in the order in which they are shown.
func Checks(o Options) []Check {
	return slices.Concat(goChecks(o), daemonChecks(o), storageChecks(o), authChecks(o), networkChecks(o), cacheChecks(o))
}

// Go is the go command as this shell has it.
type Go struct {
	Path string // of the program; "" if there is none
	Err  error  // why Path or the rest is not known

	Now     GoEnv // what go uses in this shell
	Own     GoEnv // what it would use without gomirror env
	Builtin GoEnv // what it would use if nothing were set

	// File is what the file that GOENV names sets. FileErr Is fs.ErrNotExist where there
	// is none, which is no fault.
	File    map[string]string
	FileErr error
}

// GoEnv is what `go env -json` says.
type GoEnv struct {
	GOPROXY, GONOPROXY, GONOSUMDB, GOPRIVATE, GOSUMDB string

	GOENV, GOFLAGS, GOINSECURE, GOMODCACHE, GOVERSION string
	GO111MODULE, GOTOOLCHAIN, GOROOT, GOAUTH, GOVCS   string
}

// Plan is what `eval "$(gomirror env)"` would leave in this shell.
type Plan struct {
	Vars map[string]string // what go would then use, by the names in cmd's goVars
	Err  error             // why env prints nothing; it may have a Hint
}

// Upstreams returns the GOPROXY list that gomirror fetches from in this shell.
func (o *Options) Upstreams() string {
	for _, list := range []string{o.Daemon().Status.Upstream, o.Upstream, o.Go().Own.GOPROXY} {
		if list != "" {
			return list
		}
	}
	return ""
}

// builtinList reports whether that list is the go command's own default, which passes on
// more errors than any list of the user's.
func (o *Options) builtinList() bool {
	set := o.Upstream
	if d := o.Daemon(); d.Running {
		for _, s := range d.Status.Settings {
			if s.Name == "upstream" {
				set = s.Value
			}
		}
	}
	return set == "" && o.Upstreams() == o.Go().Builtin.GOPROXY
}

// Daemon is the sidecar of this state folder, as a client finds it.
type Daemon struct {
	Addr    string       // host:port of this or the last start; "" if there never was one
	URL     string       // with the capability, so never shown
	SaveErr error        // why Addr and URL can't be read; nil where there never was a start
	Held    bool         // some process holds the lock
	Proof   daemon.Proof // what listens on Addr; "" if there is none or it can't be asked
	Err     error        // why the proof or the status can't be had

	Running bool         // answers on the control socket
	Status  DaemonStatus // what it says about itself, where it runs

	// Last is what one has said at its start that did not end by itself: it hangs, or was
	// killed. The zero one where there is none.
	Last DaemonStatus
}

// DaemonStatus is what the checks need of the answer to GET /status on the control
// socket. The names are those of `gomirror status --json`.
type DaemonStatus struct {
	Version  string               `json:"version"`
	PID      int                  `json:"pid"`
	Started  time.Time            `json:"started"`
	Exe      string               `json:"exe"` // the program that it was started from
	Address  string               `json:"address"`
	Cache    struct{ Dir string } `json:"cache"`
	Upstream string               `json:"upstream"`
	Offline  bool                 `json:"offline"`
	Private  []string             `json:"private"` // all patterns that go to their origin only
	Served   []string             `json:"served"`  // those of them that are a setting
	Unasked  []string             `json:"unasked"` // those of them that no checksum database hears of
	Tokens   []string             `json:"tokens"`  // HOST or HOST/OWNER

	Upstreams []struct {
		Name      string    `json:"name"`
		State     string    `json:"state"`
		Since     time.Time `json:"since"`
		LastError string    `json:"last_error"`
	} `json:"upstreams"`

	GOSUMDB   string `json:"gosumdb"`
	GONOSUMDB string `json:"gonosumdb"`

	// What it goes by, nil of one that is too old to tell.
	Network  *Network  `json:"network"`
	Settings []Setting `json:"settings"`
}
