package cache

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
	modzip "golang.org/x/mod/zip"
)

// Check reports an answer whose form is wrong as an *InvalidError: what the go
// command would refuse, or could not have meant to get. It computes [Draft.H1].
func (d *Draft) Check() error { return d.CheckContext(context.Background()) }

// CheckContext is Check that gives up when ctx ends. Only a .zip takes so long, and may
// have to wait for a processor.
func (d *Draft) CheckContext(ctx context.Context) error {
	var err error
	switch d.key.kind {
	case Zip:
		err = d.checkZip(ctx)
	case Mod:
		err = d.checkMod()
	case List:
		err = checkList(d.key, d.body)
	default:
		err = d.checkInfo()
	}
	d.checked = err == nil
	return err
}

// checkZip takes a turn to look at a zip. Its bytes go to the disk meanwhile.
func (d *Draft) checkZip(ctx context.Context) error {
	if d.zip == nil {
		return &InvalidError{d.key, "no bytes"}
	}
	d.sync()
	u := d.store.unpacker
	if d.entries > giantZip {
		if err := u.giants.Acquire(ctx, 1); err != nil {
			return fmt.Errorf("check %s: %w", d.key, err)
		}
		defer u.giants.Release(1)
		defer debug.FreeOSMemory() // else it stays ours for minutes
	}
	t := &turn{unpacker: u}
	if err := t.begin(ctx); err != nil {
		return fmt.Errorf("check %s: %w", d.key, err)
	}
	defer t.end()
	body := u.reader(d.zip, d.size)
	defer body.release()
	if err := d.checkForm(body); err != nil {
		return err
	}
	if d.entries > giantZip {
		debug.FreeOSMemory() // what CheckZip took, before as much is taken again
	}
	z, err := zip.NewReader(body, d.size)
	if err != nil {
		return &InvalidError{d.key, "not a zip: " + err.Error()}
	}
	for _, f := range z.File {
		// The go command would unpack it as a file. None that it made has one.
		if f.Mode()&fs.ModeSymlink != 0 {
			return &InvalidError{d.key, f.Name + " is a symbolic link"}
		}
	}
	d.h1, err = u.hash(ctx, t, z)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("check %s: %w", d.key, ctx.Err())
	} else if err != nil {
		return &InvalidError{d.key, "unpack: " + err.Error()}
	}
	return nil
}

// checkForm applies the limits of the go command before anything is unpacked. hash
// then reads every entry to its end and no entry past its declared size, so that a zip
// which passes is also one that unpacks. CheckZip wants a file name, and parses the
// directory on its own: that is 1 % of a check.
func (d *Draft) checkForm(body io.ReaderAt) error {
	name := filepath.Join(d.store.disk.dir, filepath.FromSlash(d.name))
	_, err := modzip.CheckZip(d.key.Module(), name)
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok { // ours, not the zip's
		return fmt.Errorf("check %s: %w", d.key, d.store.disk.full(cause(err)))
	}
	if _, err := zip.NewReader(body, d.size); err != nil {
		start := make([]byte, 256)
		n, _ := body.ReadAt(start, 0)
		return &InvalidError{d.key, fmt.Sprintf("not a zip%s: %v", looksLike(start[:n]), err)}
	}
	return &InvalidError{d.key, firstLine(err.Error())}
}

// sync sends the bytes of a zip to the disk beside the check: a commit then finds them
// there. They must be before its name is, as a name with half a file behind it would
// be served.
func (d *Draft) sync() {
	done := make(chan error, 1)
	zip := d.zip
	go func() { done <- zip.Sync() }() // ends with the sync
	d.syncing = done
}

// synced waits for the bytes to be on the disk.
func (d *Draft) synced() error {
	err := <-d.syncing
	d.syncing <- err // a second Commit asks again
	return err
}

// parsedMod is the size up to which a go.mod is parsed. The parser takes 200 bytes
// of memory for each byte of an odd one, and Kubernetes' go.mod has 12 KiB.
const parsedMod = 64 << 10

func (d *Draft) checkMod() error {
	named := modfile.ModulePath(d.body) != ""
	if len(d.body) <= parsedMod {
		f, err := modfile.ParseLax("go.mod", d.body, nil)
		if err != nil {
			return &InvalidError{d.key, firstLine(err.Error())}
		}
		named = f.Module != nil
	}
	// ParseLax passes over what it does not know, HTML too; the go command insists
	// on this line.
	if !named {
		return &InvalidError{d.key, "no module line" + looksLike(d.body)}
	}
	var err error
	d.h1, err = hashMod(d.body)
	return err
}

// checkInfo checks a .info, an @latest and the answer to a query. The latter two
// may name any version of the module path.
func (d *Draft) checkInfo() error {
	var info struct {
		Version string
		Time    time.Time
		Origin  struct{ Hash string }
	}
	if err := json.Unmarshal(d.body, &info); err != nil {
		return &InvalidError{d.key, "not JSON" + looksLike(d.body)}
	}
	if !utf8.Valid(d.body) {
		return &InvalidError{d.key, "not UTF-8"}
	}
	if d.key.kind == Info && info.Version != d.key.version {
		return &InvalidError{d.key, fmt.Sprintf("it is about version %q", info.Version)}
	}
	if !canonical(d.key.modPath, info.Version) {
		return &InvalidError{d.key, fmt.Sprintf("version %q is not one of this module path", info.Version)}
	}
	d.meta.OriginHash, d.named = info.Origin.Hash, info.Version
	return nil
}

// lineLimit is for a line of a list: a version is at most 128 bytes, by the limit of
// a file name, and a time has 35.
const lineLimit = 256

// checkList wants a version at the start of each line. Some proxies add a time.
func checkList(k Key, body []byte) error {
	if !utf8.Valid(body) {
		return &InvalidError{k, "not UTF-8"}
	}
	for line := range strings.Lines(string(body)) {
		if len(line) > lineLimit {
			return &InvalidError{k, fmt.Sprintf("a line of %d bytes in a list of versions", len(line)) + looksLike(body)}
		}
		if fields := strings.Fields(line); len(fields) > 0 && !semver.IsValid(fields[0]) {
			return &InvalidError{k, fmt.Sprintf("line %.60q is not a version", strings.TrimSpace(line)) + looksLike(body)}
		}
	}
	return nil
}

// looksLike names the usual stranger, a login page or a block page.
func looksLike(body []byte) string {
	start := strings.ToLower(strings.TrimSpace(string(body[:min(len(body), 256)])))
	if strings.HasPrefix(start, "<!doctype html") || strings.HasPrefix(start, "<html") {
		return " but an HTML page"
	}
	return ""
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
