package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/redact"
)

const (
	sampleFiles = 50
	inspectTime = 4 * time.Second // of large zips on a slow disk fewer are looked at
	namedMost   = 10              // that a terminal is to list
)

// cacheChecks look at what the cache holds.
func cacheChecks(o Options) []Check {
	return []Check{{"C01", "cache", o.checkCache}}
}

// checkCache finds a disk that forgets. Every answer was right when it came in.
func (o *Options) checkCache(ctx context.Context) []Finding {
	dir := o.cacheDir()
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()
	found, err := cache.Inspect(ctx, dir, sampleFiles)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return say(Skipped, "", "there is no cache yet")
	case err != nil:
		return say(Fail, "gomirror config set cache.dir DIR; "+o.restart("cache.dir"), "%v", err)
	}
	var findings []Finding
	if len(found.Wrong) > 0 {
		f := say(Fail, "", "%d of %s looked at in the cache changed on the disk", len(found.Wrong), counted(found.Checked, "file"))[0]
		f.Fix = "rm"
		for i, wrong := range found.Wrong {
			f.Fix += " " + quoted(wrong.Path)
			if i < namedMost {
				f.Detail = append(f.Detail, wrong.Path+": "+wrong.Reason)
			}
		}
		findings = append(findings, f)
	}
	if n := len(found.Quarantined); n > 0 {
		f := say(Warn, "rm -r "+quoted(filepath.Join(dir, "quarantine")), "set aside: %s that contradicted what is known", counted(n, "answer"))[0]
		for _, q := range found.Quarantined[max(0, n-namedMost):] {
			f.Detail = append(f.Detail, fmt.Sprintf("%s: %s@%s: %s", q.At.Local().Format(time.DateTime), q.Module, q.Version, redact.Text(strings.Join(strings.Fields(q.Reason), " "))))
		}
		findings = append(findings, f)
	}
	if found.LeftBytes > 0 && o.Daemon().Running { // else the next start removes it
		findings = append(findings, say(Warn, o.restart(), "processes that are gone left %s in the cache", gigabytes(uint64(found.LeftBytes)))...)
	}
	switch {
	case len(findings) > 0:
		return findings
	case found.Checked == 0:
		return say(OK, "", "the cache is empty")
	}
	return say(OK, "", "%s picked at random from the cache: all as they came in", counted(found.Checked, "file"))
}
