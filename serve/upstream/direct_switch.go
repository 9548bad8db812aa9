package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/mod/module"
)

// goVersion is what may stand on a go line. It comes out of a stranger's go.mod, and
// goes into one of ours.
var goVersion = regexp.MustCompile(`^1\.[0-9]{1,3}(\.[0-9]{1,3}|(rc|beta)[0-9]{1,3})?$`)

// switchToolchain fetches the go command that a go line asks for, and returns its
// path. Only `go mod download` needs it: it refuses a module whose go line is newer
// than itself, for a newer go may make another zip. The toolchain comes through
// gomirror itself, where it is cached and where plain go would find it too, and the
// go command checks it against the checksum database. The child takes no slot of the
// tunnel: what it waits for may need one.
func (d *Direct) switchToolchain(ctx context.Context, want string) (string, error) {
	if d.opts.Switch == nil {
		return "", errors.New("newer go commands are not fetched here")
	}
	if !goVersion.MatchString(want) {
		return "", fmt.Errorf("%q is no go version", want)
	}
	unlock, err := d.locks.lock(ctx, toolchainPath)
	if err != nil {
		return "", err
	}
	defer unlock()
	goproxy, gosumdb := d.opts.Switch()
	out, err := d.run(ctx, child{
		tool:  d.opts.Go,
		args:  []string{"env", "GOROOT"},
		env:   []string{"GOTOOLCHAIN=auto", "GOPROXY=" + goproxy, "GOSUMDB=" + gosumdb},
		goMod: "module switch\n\ngo " + want + "\n",
		ports: portsOf(goproxy),
	})
	if err != nil {
		// An OriginError of its own would say "not found" of the module.
		var exit *exitError
		if errors.As(err, &exit) {
			// go prints the URL that it asked, and with it our capability.
			text := strings.ReplaceAll(exit.stderr, goproxy, "gomirror")
			err = errors.New(originText(module.Version{Path: toolchainPath}, text))
		}
		return "", fmt.Errorf("fetch it through gomirror: %w", err)
	}
	name := "go"
	if runtime.GOOS == "windows" {
		name = "go.exe"
	}
	goCmd := filepath.Join(strings.TrimSpace(string(out)), "bin", name)
	if rest, err := filepath.Rel(d.opts.VCSDir, goCmd); err != nil || !filepath.IsLocal(rest) {
		return "", fmt.Errorf("fetch it through gomirror: go env says %q", goCmd)
	}
	return goCmd, nil
}

// portsOf is the port in our own address.
func portsOf(address string) []int {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return nil
	}
	return []int{port}
}

// sumdb is what replaces GOSUMDB for the one module that the go command takes from
// no origin without its checksum.
func (d *Direct) sumdb(mod module.Version) []string {
	if mod.Path != toolchainPath || d.opts.Switch == nil {
		return nil
	}
	_, gosumdb := d.opts.Switch()
	return []string{"GOSUMDB=" + gosumdb}
}
