package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve"
	"github.com/gomirror/gomirror/serve/daemon"
)

// newStatus declares status. The capability is in no output unless asked for, since
// people paste a status into bug reports.
func newStatus(env *Env) *cobra.Command {
	var showURL bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Tell whether gomirror runs and how it does",
		Args:  arguments(""),
		RunE:  func(c *cobra.Command, _ []string) error { return runStatus(c.Context(), env, showURL) },
	}
	c.Flags().BoolVar(&showURL, "show-url", false, "show the whole address, which others must not see")
	return c
}

// runStatus never starts a daemon: a status that does so tells about another one than
// was asked for. Before it shows an address it has the listener prove itself.
func runStatus(ctx context.Context, env *Env, showURL bool) error {
	// A daemon that runs has read its settings: a mistake made since waits for the next start.
	s, broken := loadSettings(env, nil)
	if broken != nil {
		var err error
		if s, err = defaultSettings(); err != nil {
			return err
		}
	}
	doc, err := askStatus(ctx, s)
	switch {
	case broken != nil && errors.Is(err, daemon.ErrNotRunning):
		return broken
	case broken != nil:
		env.note("the next start will fail: %s", serve.Redact(broken.Error()))
	}
	if errors.Is(err, daemon.ErrNotRunning) {
		err = whyNotRunning(ctx, s, err)
		if env.json {
			// For a script, not running is an answer too.
			err = errors.Join(env.printJSON(statusDoc{SchemaVersion: 1}), err)
		}
	}
	if err != nil {
		return err
	}
	c, err := findSidecar(ctx, s)
	if err != nil {
		return err
	}
	if showURL {
		doc.URL = c.url()
	}
	if env.json {
		return env.printJSON(doc)
	}
	_, err = io.WriteString(env.Stdout, doc.render(env.palette(), env.Now()))
	return err
}

// statusWidth is the terminal that the human output is laid out for.
const statusWidth = 80

// sheet lays out labels and values in two columns.
type sheet struct {
	p palette
	b strings.Builder
}

// labelWidth is that of the first column, with its gap.
const labelWidth = 10

// row pads the label itself: the escapes of its style have no width.
func (t *sheet) row(label, value string) {
	fmt.Fprintf(&t.b, "%s%s%s\n", t.p.label.Render(label), strings.Repeat(" ", labelWidth-len(label)), value)
}

// list is a row whose items go on in further lines where the first is full.
func (t *sheet) list(label string, items []string, sep string) {
	line := ""
	for i, item := range items {
		if i < len(items)-1 {
			item += sep
		}
		if line != "" && labelWidth+len(line)+1+len(item) > statusWidth {
			t.row(label, line)
			label, line = "", ""
		}
		line = strings.TrimPrefix(line+" "+item, " ")
	}
	t.row(label, line)
}

// render returns the human form of the document. Every fact is in the words, so that
// nothing is lost without colour.
func (d *statusDoc) render(p palette, now time.Time) string {
	t := &sheet{p: p}
	state := p.good.Render("running")
	if d.Offline {
		state = p.warn.Render("running offline")
	}
	t.row("gomirror", fmt.Sprintf("%s, version %s, pid %d, up %s", state, d.Version, d.PID, uptime(now.Sub(d.Started))))
	t.row("address", d.Address)
	if d.URL != "" {
		t.row("url", d.URL)
	}
	t.row("cache", d.Cache.Dir)
	t.row("upstream", d.Upstream)
	for _, u := range d.Upstreams {
		t.upstream(u, now)
	}
	if len(d.Private) > 0 {
		t.list("private", d.Private, ",")
	}
	if len(d.Tokens) > 0 {
		t.list("tokens", d.Tokens, ",")
	}
	if len(d.PlainTokens) > 0 {
		t.row("", p.warn.Render("in a plain file: "+strings.Join(d.PlainTokens, ", ")))
		t.row("try", "gomirror auth login")
	}
	st := d.Stats
	t.list("requests", []string{count(st.Hits, "hit"), count(st.Misses, "miss"), fmt.Sprintf("%d stale", st.Stale),
		fmt.Sprintf("%d revalidated", st.Revalidated), count(st.Errors, "error")}, ",")
	if r := d.Refused; r != (refusedDoc{}) {
		t.list("refused", []string{fmt.Sprintf("%d for another host", r.Host),
			fmt.Sprintf("%d of browsers", r.Browser), fmt.Sprintf("%d of other users", r.User)}, ",")
	}
	t.row("bytes", fmt.Sprintf("%s fetched, %s served", size(st.FetchedBytes), size(st.ServedBytes)))
	if pf := d.Prefetch; pf.Fetched > 0 {
		t.list("ahead", []string{fmt.Sprintf("%s fetched", size(pf.FetchedBytes)), fmt.Sprintf("%s of it used", size(pf.UsedBytes)),
			fmt.Sprintf("%s wasted", size(pf.WastedBytes)), count(pf.Ready+pf.Joined, "wait") + " saved"}, ",")
	}
	for _, db := range d.SumDB {
		t.row("checksums", db.render(p))
	}
	if d.Unverified > 0 {
		t.row("", p.warn.Render(count(int64(d.Unverified), "version")+" to be checked once the database answers"))
	}
	for _, q := range d.Quarantine {
		t.row("alarm", p.bad.Render(fmt.Sprintf("%s@%s set aside on %s", q.Module, q.Version, q.At.Local().Format(time.DateTime))))
		t.list("", strings.Fields(printable(q.Reason)), "")
	}
	for _, v := range d.Moved {
		name := v.Module + "@" + v.Version
		what := " has moved"
		if v.Moved == cache.Deleted {
			what = " has lost its tag"
		}
		t.row("alarm", t.p.bad.Render(name+what+", noticed on "+v.At.Local().Format(time.DateTime)))
		t.list("", strings.Fields("commit "+v.Commit+" is served; "+whereTag(v.Moved)), "")
		t.list("", strings.Fields("gomirror refresh "+name+" --accept-moved"), "")
	}
	return t.b.String()
}

// upstream tells how an upstream does, once there is something to tell.
func (t *sheet) upstream(u upstreamDoc, now time.Time) {
	if u.State == "unknown" {
		return
	}
	state := t.p.good.Render(u.State)
	if u.State != "up" {
		state = t.p.bad.Render(u.State) + " for " + uptime(now.Sub(u.Since))
	}
	t.list("", []string{u.Name + " " + state, fmt.Sprintf("%d ms to answer", u.FirstByteMS),
		fmt.Sprintf("%d of %s failed", u.Failures, count(u.Tries, "request"))}, ",")
	if u.State != "up" && u.LastError != "" {
		t.list("", strings.Fields(printable(u.LastError)), "")
	}
}

// render puts the worst news about a database first.
func (d *sumdbDoc) render(p palette) string {
	switch {
	case d.Fork != "":
		return d.Name + " " + p.bad.Render("contradicts itself: "+printable(d.Fork))
	case d.OutOfReach:
		return d.Name + " " + p.warn.Render("out of reach")
	case d.TreeSize == 0:
		return d.Name + " not asked yet"
	}
	return fmt.Sprintf("%s, %d records", d.Name, d.TreeSize)
}

// uptime drops what nobody reads: seconds after an hour.
func uptime(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// printable drops what a terminal would obey. Reasons quote what upstreams sent.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return -1
	}, text)
}

// count writes "1 hit" and "2 hits".
func count(n int64, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "s"):
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
