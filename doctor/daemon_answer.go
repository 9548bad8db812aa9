package doctor

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/daemon"
	"github.com/gomirror/gomirror/serve/upstream"
)

const (
	answerLimit = 4 * time.Second // leaves time to say so
	answerSlow  = 500 * time.Millisecond
	answerTries = 3 // a machine that is busy for an instant is no fault of ours
)

// checkAnswer asks for a file that is in the cache, so that the answer comes from the
// sidecar alone, and no upstream can be to blame or be asked.
func (o *Options) checkAnswer(ctx context.Context) []Finding {
	d := o.Daemon()
	switch {
	case d.Proof != daemon.Ours || d.URL == "":
		return say(Skipped, "", "nothing on that address is known to be gomirror")
	case d.Held && !d.Running: // it came to hang after it had proved itself
		return say(Skipped, "", "gomirror does not answer on its control socket, see D01")
	}
	key := heldInfo(ctx, cmp.Or(d.Status.Cache.Dir, o.CacheDir), upstream.MatchPrivate(d.Status.Private))
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	fastest := answerLimit
	for range answerTries {
		start := time.Now()
		code, said, err := getAnswer(ctx, d.URL+"/"+cmp.Or(key, "-"))
		fastest = min(fastest, time.Since(start))
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return say(Fail, o.ending(d), "gomirror takes a request and does not answer it within %v", answerLimit)
		case err != nil:
			return say(Fail, o.ending(d), "gomirror breaks off its answer: %v", withoutURL(err))
		case code == http.StatusNotFound && key == "": // nothing is at that path
		case code != http.StatusOK:
			return say(Fail, o.restart(), "gomirror answers %d to what it has in its cache: %s", code, said)
		}
		if fastest <= answerSlow {
			break
		}
	}
	if fastest > answerSlow {
		return say(Warn, o.restart(), "gomirror takes %s for what it has in its cache", ms(fastest))
	}
	return say(OK, "", "gomirror answers in %s", ms(fastest))
}

// ending starts a sidecar anew that may not be able to stop by itself.
func (o *Options) ending(d Daemon) string {
	pid := d.Status.PID
	if pid == 0 {
		pid = o.holder()
	}
	if pid == 0 {
		return o.restart()
	}
	return o.killAndStart(pid)
}

// withoutURL is an error of net/http without the address, which the reader knows.
func withoutURL(err error) error {
	if made, ok := errors.AsType[*url.Error](err); ok {
		return made.Err
	}
	return err
}

// heldInfo returns the key of some .info that the sidecar has, "" if there is none. One
// whose module is private may not be taken from the public tree without a question to
// its origin.
func heldInfo(ctx context.Context, dir string, private func(string) bool) (found string) {
	tree := filepath.Join(dir, "download")
	// What can't be read has no .info that could be asked for.
	_ = filepath.WalkDir(tree, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return ctx.Err()
		}
		rel, err := filepath.Rel(tree, name)
		if err != nil || !entry.Type().IsRegular() || !strings.HasSuffix(name, ".info") {
			return nil
		}
		key, err := cache.ParseKey(filepath.ToSlash(rel))
		if err != nil || key.Kind() != cache.Info || private(key.Module().Path) {
			return nil
		}
		found = key.String()
		return fs.SkipAll
	})
	return found
}

// getAnswer asks as the go command does, past all proxies. That the request says it has
// passed another gomirror keeps the sidecar from fetching what go would ask next.
func getAnswer(ctx context.Context, address string) (code int, said string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set(upstream.HopHeader, "doctor")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	said, _, _ = strings.Cut(strings.TrimSpace(string(body)), "\n")
	return resp.StatusCode, said, err
}
