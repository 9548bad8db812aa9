package cmd

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomirror/gomirror/doctor"
)

// bundleLog is how much of the log's end goes into a bundle: some hours of a busy day.
const bundleLog = 256 << 10

// bundleDoc tells what a bundle holds.
type bundleDoc struct {
	File    string       `json:"file"`
	Files   []bundleFile `json:"files"`
	LeftOut []leftOut    `json:"left_out,omitempty"`
}

// bundleFile is one file in it, redacted.
type bundleFile struct {
	Name    string `json:"name"`
	Bytes   int    `json:"bytes"`
	What    string `json:"what"`
	content []byte
}

// leftOut is a file that could have been in it.
type leftOut struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// checkBundle refuses at once what writeBundle would refuse after some seconds.
func checkBundle(name string) error {
	if name == "" {
		return nil
	}
	if _, err := os.Lstat(name); err == nil {
		return usagef("gomirror doctor --bundle "+newName(name), "write a bundle: %s is there already", name)
	}
	if _, err := os.Stat(filepath.Dir(name)); err != nil {
		return usagef("gomirror doctor --bundle gomirror-doctor.zip", "write a bundle: %w", err)
	}
	return nil
}

// newName returns a name that is free, most likely.
func newName(name string) string {
	ext := filepath.Ext(name)
	return strings.TrimSuffix(name, ext) + "-2" + ext
}

// newBundle gathers what somebody who helps needs to know. Nothing in it names a
// private module, and what can't be read is left out: it is part of the diagnosis.
func newBundle(ctx context.Context, env *Env, look doctor.Options, doc doctorDoc, name string) (*bundleDoc, error) {
	var status *statusDoc
	if s, err := loadSettings(env, nil); err == nil {
		if status, err = askStatus(ctx, s); err == nil {
			look.Private = unite(look.Private, status.movedModules())
		}
	}
	hide := newHider(env, look, doc.logins...)
	b := &bundleDoc{File: name}
	add := func(name, what string, content []byte) {
		if text := hide.text(string(content)); text != "" {
			b.Files = append(b.Files, bundleFile{name, len(text), what, []byte(text)})
		}
	}
	g := look.Go()
	for _, part := range []struct {
		name, what string
		doc        any
	}{
		{"doctor.json", "what the checks found", doc},
		{"version.json", "which gomirror this is", buildVersion()},
		{"go-env.json", "what go env says, with and without gomirror env", map[string]doctor.GoEnv{"now": shownGoEnv(g.Now), "without": shownGoEnv(g.Own), "builtin": shownGoEnv(g.Builtin)}},
	} {
		content, err := json.MarshalIndent(part.doc, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", part.name, err)
		}
		add(part.name, part.what, content)
	}
	add("environment.txt", "variables of Go, gomirror and the network", environment(env))
	if status != nil {
		if content, err := json.MarshalIndent(status, "", "  "); err == nil {
			add("status.json", "what gomirror says about itself", content)
		}
	}
	if look.SettingsErr == nil { // not the file's text: its comments may tell anything
		content, err := json.MarshalIndent(look.Settings, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("write settings.json: %w", err)
		}
		add("settings.json", "the settings of this shell", content)
	} else if _, err := os.Lstat(look.ConfigFile); err == nil {
		b.LeftOut = append(b.LeftOut, leftOut{"config.toml", "can't be read, so its private names can't be hidden"})
	}
	add(logFile, "the end of the log", logTail(filepath.Join(look.StateDir, logFile)))
	return b, nil
}

// movedModules are private, whatever the patterns say by now: only of such a module the
// tags are compared.
func (d *statusDoc) movedModules() []string {
	var all []string
	for _, m := range d.Moved {
		all = append(all, m.Module)
	}
	return all
}

// goEnvNames is what `go env -json` names, on any architecture. What else begins with
// GO may be anybody's: GOOGLE_CREDENTIALS.
const goEnvNames = ` AR CC CGO_CFLAGS CGO_CPPFLAGS CGO_CXXFLAGS CGO_ENABLED CGO_FFLAGS CGO_LDFLAGS CXX FC GCCGO
 GO111MODULE GO386 GOAMD64 GOARCH GOARM GOARM64 GOAUTH GOBIN GOCACHE GOCACHEPROG GODEBUG GOENV GOEXE GOEXPERIMENT
 GOFIPS140 GOFLAGS GOGCCFLAGS GOHOSTARCH GOHOSTOS GOINSECURE GOMIPS GOMIPS64 GOMOD GOMODCACHE GONOPROXY GONOSUMDB
 GOOS GOPATH GOPPC64 GOPRIVATE GOPROXY GORISCV64 GOROOT GOSUMDB GOTELEMETRY GOTELEMETRYDIR GOTMPDIR GOTOOLCHAIN
 GOTOOLDIR GOVCS GOVERSION GOWASM GOWORK PKG_CONFIG `

// otherNames are what go once read and people still set, and what decides about the
// network and the terminal.
const otherNames = ` GONOSUMCHECK GONOVERIFY HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR
 LANG LC_ALL TERM SHELL CI `

// environment lists what decides how go and gomirror reach others. Of what may be a
// secret only the name is told.
func environment(env *Env) []byte {
	known := strings.Fields(goEnvNames + otherNames)
	var lines []string
	for _, kv := range env.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		upper := strings.ToUpper(name)
		if upper == tokenVariable || !slices.Contains(known, upper) && !strings.HasPrefix(upper, "GOMIRROR_") {
			continue
		}
		if upper == originalsVar || maySecret(upper) { // the first is base64, in which nothing can be found and hidden
			value = "REDACTED"
		}
		lines = append(lines, name+"="+shownValue(upper, value)+"\n")
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, ""))
}

// maySecret reports whether a variable has a name that secrets have.
func maySecret(name string) bool {
	return slices.ContainsFunc([]string{"TOKEN", "SECRET", "KEY", "CRED", "AUTH", "PASS"}, func(part string) bool {
		return strings.Contains(name, part)
	})
}

// shownGoEnv hides a GOAUTH that is a command, which may have a token as argument.
func shownGoEnv(e doctor.GoEnv) doctor.GoEnv {
	e.GOPROXY, e.GOSUMDB, e.GOFLAGS = shownValue("GOPROXY", e.GOPROXY), shownValue("GOSUMDB", e.GOSUMDB), shownValue("GOFLAGS", e.GOFLAGS)
	if !slices.Contains([]string{"", "off", "netrc"}, e.GOAUTH) {
		e.GOAUTH = "REDACTED"
	}
	return e
}

// logTail returns the last whole lines of a file.
func logTail(name string) []byte {
	f, err := openRegular(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	from := max(0, info.Size()-bundleLog)
	content, err := io.ReadAll(io.NewSectionReader(f, from, bundleLog))
	if err != nil {
		return nil
	}
	if from > 0 {
		_, after, _ := strings.Cut(string(content), "\n")
		return []byte(after)
	}
	return content
}

// print lists the contents, so that the user knows them before anything is written.
func (b *bundleDoc) print(env *Env) error {
	fmt.Fprintf(env.Stdout, "\n%s gets, without secrets and names of private modules:\n", b.File)
	for _, f := range b.Files {
		if _, err := fmt.Fprintf(env.Stdout, "  %-16s %9s  %s\n", f.Name, size(int64(f.Bytes)), f.What); err != nil {
			return err
		}
	}
	for _, f := range b.LeftOut {
		if _, err := fmt.Fprintf(env.Stdout, "  %-16s %9s  %s\n", f.Name, "left out", f.Why); err != nil {
			return err
		}
	}
	return nil
}

// write makes the zip, which nobody but the user may read: redaction is not proof.
func (b *bundleDoc) write() (err error) {
	f, err := os.OpenFile(b.File, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return checkBundle(b.File)
	}
	if err != nil {
		return fmt.Errorf("write a bundle: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(fmt.Errorf("write a bundle: %w", err), os.Remove(b.File))
		}
	}()
	archive := zip.NewWriter(f)
	for _, file := range b.Files {
		w, err := archive.Create(file.Name)
		if err != nil {
			return err
		}
		if _, err := w.Write(file.content); err != nil {
			return err
		}
	}
	return archive.Close()
}
