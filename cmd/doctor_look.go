package cmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
	"github.com/gomirror/gomirror/serve/daemon"
)

// lookTime is how long the go command and the sidecar may take to tell of themselves.
// It is less than a check has, so that the check can say which of them was slow.
const lookTime = 4 * time.Second

// lookAround returns what the checks look at. A setting that can't be read stops
// nothing: it is one of the things that a doctor is asked about.
func (e *Env) lookAround(ctx context.Context, offline bool) (doctor.Options, error) {
	s, settingsErr := loadSettings(e, nil)
	if settingsErr != nil {
		var err error
		if s, err = defaultSettings(); err != nil {
			return doctor.Options{}, err
		}
	}
	exe, err := os.Executable()
	if err != nil {
		exe = "" // removed under us, which D04 tells
	}
	var look doctor.Options
	proxy := func(r *http.Request) (*url.URL, error) { return look.HTTPProxy(r.URL) }
	client, err := newGitHubBy(e, s, proxy)
	if err != nil { // the file of roots is at fault, which N01 tells
		client = github.New(github.Options{HTTP: &http.Client{Transport: &http.Transport{
			DialContext: e.Dial, Proxy: proxy,
		}}, Now: e.Now})
	}
	keychain := e.Secrets
	if keychain.Get == nil {
		keychain = credential.SystemKeychain()
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = ""
	}
	look = doctor.Options{
		Dir: dir, Getenv: e.Getenv, Environ: e.Environ, Exec: e.Exec, LookPath: exec.LookPath, Now: e.Now,
		GOOS: runtime.GOOS, Exe: exe, Version: buildVersion().Version,
		StateDir: s.stateDir, CacheDir: s.cacheDir, ConfigFile: s.file,
		Upstream: s.upstream, Private: s.private, CAFile: s.caFile, Hosts: s.hosts,
		Offline: offline || s.offline, Origins: s.origins, Settings: s.shown(), SettingsErr: settingsErr,
		Go:     sync.OnceValue(func() doctor.Go { return e.lookAtGo(ctx) }),
		Plan:   sync.OnceValue(func() doctor.Plan { return e.lookAtPlan(ctx) }),
		Daemon: sync.OnceValue(func() doctor.Daemon { return lookAtDaemon(ctx, s) }),
		Tokens: credential.New(credential.Options{
			Environment: credential.NewSecret(e.Getenv(tokenVariable)), StateDir: s.stateDir,
			Keychain: e.Secrets, Now: e.Now, Remember: rememberTokens, Limit: lookTime,
		}),
		Keychain: keychain, GitHub: client,
		Dial: e.Dial, Lookup: e.Lookup,
	}
	if e.Look != nil {
		look = e.Look(look)
	}
	return look, nil
}

// lookAtGo asks the go command what it uses now, what it would use without gomirror,
// and what its own defaults are.
func (e *Env) lookAtGo(ctx context.Context) (g doctor.Go) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if g.Path, g.Err = exec.LookPath("go"); g.Err != nil {
		g.Path = ""
		return g
	}
	orig, err := e.originals()
	if err != nil {
		g.Err = err
		return g
	}
	now, unset := originals{}, originals{}
	for _, name := range goVars() {
		unset[name] = nil
		if value, ok := e.lookup(name); ok {
			now[name] = &value
		}
	}
	var asking sync.WaitGroup
	errs := make([]error, 3)
	asking.Go(func() { g.Now, errs[0] = e.askGo(ctx, g.Path, now) })
	asking.Go(func() { g.Own, errs[1] = e.askGo(ctx, g.Path, orig) })
	asking.Go(func() { g.Builtin, errs[2] = e.askGo(ctx, g.Path, unset, "GOENV=off") })
	asking.Wait()
	if g.Err = cmp.Or(errs...); g.Err != nil {
		if ctx.Err() != nil {
			g.Err = ctx.Err() // that we killed it says less
		}
		return g
	}
	g.File, g.FileErr = readGoEnvFile(g.Now.GOENV)
	return g
}

// askGo runs `go env` with the variables of o in place of the current ones, where and
// as runGoEnv does.
func (e *Env) askGo(ctx context.Context, goTool string, o originals, extra ...string) (g doctor.GoEnv, err error) {
	environ := slices.DeleteFunc(slices.Clone(e.Environ()), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(goVars(), name)
	})
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if o[name] != nil {
			environ = append(environ, name+"="+*o[name])
		}
	}
	out, err := e.Exec(ctx, "/", append(doctor.ForGo(environ), extra...), goTool, append([]string{"env", "-json"}, goEnvFields()...)...)
	if err != nil {
		return g, err
	}
	return g, json.Unmarshal(out, &g)
}

// goEnvFields are the variables that a GoEnv has. To tell all that there are go would
// try out the C compiler, and fill its build cache with that.
func goEnvFields() []string {
	var names []string
	for f := range reflect.TypeFor[doctor.GoEnv]().Fields() {
		names = append(names, f.Name)
	}
	return names
}

// readGoEnvFile reads the file of `go env -w` as cmd/go/internal/cfg does.
func readGoEnvFile(name string) (map[string]string, error) {
	if name == "" || name == "off" {
		return nil, fs.ErrNotExist
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	vars := map[string]string{}
	for line := range strings.Lines(string(content)) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		if ok && key != "" && !strings.HasPrefix(key, "#") {
			vars[key] = value
		}
	}
	return vars, nil
}

// lookAtPlan finds out what `gomirror env` would do.
func (e *Env) lookAtPlan(ctx context.Context) doctor.Plan {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	orig, err := e.originals()
	if err != nil {
		return doctor.Plan{Err: err}
	}
	list, _, err := settingUp(ctx, e, orig, "")
	if err != nil {
		return doctor.Plan{Err: err}
	}
	// What env does not set has the user's own value afterwards.
	own, err := e.runGoEnv(ctx, orig)
	if err != nil {
		return doctor.Plan{Err: err}
	}
	vars := map[string]string{
		"GOPROXY": own.GOPROXY, "GONOPROXY": own.GONOPROXY, "GONOSUMDB": own.GONOSUMDB,
		"GOPRIVATE": own.GOPRIVATE, "GOSUMDB": own.GOSUMDB,
	}
	for _, a := range list {
		if _, known := vars[a.name]; known && a.value != nil {
			vars[a.name] = *a.value
		}
	}
	return doctor.Plan{Vars: vars}
}

// lookAtDaemon finds the sidecar as other commands do, and goes on where they stop.
func lookAtDaemon(ctx context.Context, s *settings) (d doctor.Daemon) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	c := &sidecar{}
	var err error
	if c.addr, c.capability, err = daemon.Saved(s.stateDir); err == nil {
		d.Addr, d.URL = c.addr, c.url()
		d.Proof, d.Err = daemon.Prove(ctx, s.stateDir, c.addr)
	} else if !errors.Is(err, fs.ErrNotExist) {
		d.SaveErr = err
	}
	d.Held = daemon.Held(s.stateDir)
	client, err := daemon.Dial(s.stateDir)
	if err == nil {
		err = client.Status(ctx, &d.Status)
	}
	if d.Running = err == nil; !d.Running {
		d.Last = readStarted(s.stateDir)
	}
	if !errors.Is(err, daemon.ErrNotRunning) {
		d.Err = errors.Join(d.Err, err)
	}
	return d
}
