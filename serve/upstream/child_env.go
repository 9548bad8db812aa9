package upstream

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// gitConfig is the whole configuration of git in a child: no file is read but a clone's own. Hosts of
// attackers choose what it meets, so it runs no program of a repository's or a
// user's, speaks https alone, and asks nobody.
var gitConfig = [...][2]string{
	{"core.hooksPath", os.DevNull},
	{"protocol.allow", "never"},
	{"protocol.https.allow", "always"},
	{"http.followRedirects", "initial"}, // a renamed repository redirects its first request
	{"credential.helper", ""},
	{"credential.useHttpPath", "true"}, // an askpass is told the repository, see teller
	{"http.proxyAuthMethod", "basic"},  // else each connection to the tunnel is refused once
	{"core.symlinks", "false"},
	{"submodule.recurse", "false"},
	{"gc.auto", "0"},
	{"http.lowSpeedLimit", "1000"}, // bytes a second …
	{"http.lowSpeedTime", "20"},    // … for 20 s: the stall limit of a body
}

// environ is the exact environment of a child: nothing is inherited. settings are
// "NAME=value" and replace those of the list, which a test holds byte for byte.
func (d *Direct) environ(box, proxyURL string, settings []string) []string {
	home := filepath.Join(box, "home")
	env := []string{
		"PATH=" + filepath.Dir(d.opts.Git), // the go command looks git up
		"HOME=" + home,
		"TMPDIR=" + filepath.Join(box, "tmp"), // go's zip drafts hold private source
		"LANG=C", "LC_ALL=C",                  // the errors are read by us
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + os.DevNull,
		// The cache may lie in a repository, as where a home's dotfiles are one, and git
		// takes the configuration of what it stands in. It resolves symbolic links here.
		"GIT_CEILING_DIRECTORIES=" + box + string(filepath.ListSeparator) + d.opts.VCSDir,
		fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(gitConfig)),
	}
	for i, kv := range gitConfig {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, kv[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, kv[1]))
	}
	env = append(env,
		"GIT_ALLOW_PROTOCOL=https",
		"GIT_TERMINAL_PROMPT=0",
		"GCM_INTERACTIVE=never",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_LFS_SKIP_SMUDGE=1",
		"HTTPS_PROXY="+proxyURL,
		"HTTP_PROXY="+proxyURL, // an import page may name a proxy that go then asks on http
	)
	if d.opts.CAFile != "" {
		// The go command reads the first, Debian's git only the second.
		env = append(env, "SSL_CERT_FILE="+d.opts.CAFile, "GIT_SSL_CAINFO="+d.opts.CAFile)
	}
	noSumDB := d.opts.NoSumDB()
	env = append(env,
		"GOENV=off",
		"GOFLAGS=-modcacherw", // what it extracts must be removable
		"GOTOOLCHAIN=local",   // see Direct.switchToolchain
		"GOWORK=off",
		"GO111MODULE=on",
		"GOPROXY=direct",
		"GONOPROXY=none",
		"GOSUMDB=off", // mirror.Verify is the one verifier; the child would dial the database itself
		"GONOSUMDB="+noSumDB,
		"GOPRIVATE="+noSumDB,
		"GOVCS=*:git",
		"GOINSECURE=",
		"GOAUTH=off",
		"CGO_ENABLED=0",
		"GOPATH="+filepath.Join(box, "gopath"),
		"GOCACHE="+filepath.Join(box, "gocache"),
		"GOMODCACHE="+d.opts.VCSDir,
	)
	return replaceEnv(append(env, systemEnviron(box)...), settings)
}

// replaceEnv puts settings in the place of those of the same name.
func replaceEnv(env, settings []string) []string {
	for _, setting := range settings {
		name, _, _ := strings.Cut(setting, "=")
		for i, old := range env {
			if strings.HasPrefix(old, name+"=") {
				env[i] = setting
			}
		}
	}
	return env
}
