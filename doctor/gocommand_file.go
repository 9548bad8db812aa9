package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomirror/gomirror/serve/upstream"
)

// closeFile is the cure of a file of go env -w that others can read, as go makes it.
const closeFile = `chmod 600 "$(go env GOENV)"`

// checkGoEnvFile looks at what `go env -w` has kept for all shells.
func (o *Options) checkGoEnvFile(g Go) []Finding {
	switch {
	case errors.Is(g.FileErr, fs.ErrNotExist):
		return say(OK, "", "go env -w has kept nothing")
	case g.FileErr != nil:
		return say(Fail, closeFile, "go can't read what go env -w has kept: %v", g.FileErr)
	}
	var found []Finding
	list := entries(g.File["GOPROXY"])
	ours := slices.IndexFunc(list, upstream.IsOurs) >= 0
	password := slices.ContainsFunc(list, func(e string) bool { return strings.Contains(e, "@") && shown(e) != e })
	if info, err := os.Stat(g.Now.GOENV); err == nil && o.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		switch {
		case ours:
			found = append(found, say(Fail, closeFile, "other users can read the address of gomirror in %s", g.Now.GOENV)...)
		case password:
			found = append(found, say(Warn, closeFile, "other users can read the password of a proxy in %s", g.Now.GOENV)...)
		}
	}
	url := o.Daemon().URL
	switch {
	case ours && o.fromShell("GOPROXY") && !namesUs(g.Now.GOPROXY):
		found = append(found, say(Fail, o.unsetInShell("GOPROXY"), "GOPROXY of this shell hides the one of go env -w, which names gomirror")...)
	case ours && url != "" && !slices.Contains(list, url):
		found = append(found, say(Warn, "go env -u GOPROXY", "go env -w has kept an address that gomirror no longer has")...)
	}
	if len(found) == 0 {
		return say(OK, "", "what go env -w has kept is in nobody's way")
	}
	return found
}

// checkGOFLAGS looks for flags that go refuses or has dropped, and for variables that
// it no longer reads: who sets these believes to have turned something off.
func (o *Options) checkGOFLAGS(ctx context.Context) []Finding {
	g := o.Go()
	if g.Err != nil {
		return say(Skipped, "", "go does not tell its settings, see E01 and E02")
	}
	var found []Finding
	for _, name := range []string{"GONOSUMCHECK", "GONOVERIFY"} {
		if o.fromShell(name) {
			found = append(found, say(Warn, o.unsetInShell(name), "%s does nothing: go reads GONOSUMDB", name)...)
		}
	}
	if _, err := o.Exec(ctx, "/", ForGo(o.Environ()), g.Path, "version"); err != nil && !strings.Contains(err.Error(), "GOFLAGS") {
		return append(found, say(Fail, "go version", "go does not run: %v", err)...)
	}
	kept, err := o.takenFlags(ctx, g)
	mended := slices.DeleteFunc(slices.Clone(kept), func(f string) bool { return strings.TrimLeft(f, "-") == "insecure" })
	fix := o.assign("GOFLAGS", strings.Join(mended, " "))
	switch {
	case err != nil:
		found = append(found, say(Fail, fix, "go refuses GOFLAGS=%s: %v", g.Now.GOFLAGS, err)...)
	case len(mended) < len(kept):
		found = append(found, say(Warn, fix, "GOFLAGS holds -insecure, which go get refuses since 1.17")...)
	}
	if len(found) == 0 {
		return say(OK, "", "go takes GOFLAGS as it is")
	}
	return found
}

// checkEditors looks for editors that go their own way: started from a desktop they see
// nothing of a shell. That matters where go alone can't fetch something.
func (o *Options) checkEditors(g Go) []Finding {
	switch {
	case !namesUs(g.Now.GOPROXY):
		return say(Skipped, "", "go does not ask gomirror, see E03")
	case namesUs(g.File["GOPROXY"]):
		return say(OK, "", "editors have gomirror from go env -w")
	}
	var editors []string
	for _, e := range []struct{ name, program, app string }{
		{"VS Code", "code", "Visual Studio Code.app"},
		{"VSCodium", "codium", "VSCodium.app"},
		{"Cursor", "cursor", "Cursor.app"},
		{"GoLand", "goland", "GoLand.app"},
		{"IntelliJ IDEA", "idea", "IntelliJ IDEA.app"},
	} {
		_, err := o.LookPath(e.program)
		if err != nil && o.GOOS == "darwin" {
			_, err = os.Stat(filepath.Join("/Applications", e.app))
		}
		if err == nil {
			editors = append(editors, e.name)
		}
	}
	switch names := strings.Join(editors, ", "); {
	case len(editors) == 0:
		return say(OK, "", "no editor is here that would not see this shell's variables")
	case len(listed(g.Now.GONOSUMDB)) == 0 || len(o.tokenFor()) == 0:
		return say(OK, "", "%s goes past gomirror unless started from this shell", names)
	default:
		vars := "go env -w"
		for _, name := range []string{"GOPROXY", "GONOPROXY", "GONOSUMDB", "GOPRIVATE"} {
			vars += " " + name + `="$(go env ` + name + `)"`
		}
		return say(Warn, vars+" && "+closeFile, "%s, started from the desktop, goes past gomirror and its token", names)
	}
}
