package cmd

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/charmbracelet/lipgloss"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve"
)

// clean takes out what others must not see, and what a terminal would obey: some of
// the text is what a host or a file said.
func clean(text string) string { return printable(serve.Redact(text)) }

// doctorSheet prints results as they come.
type doctorSheet struct {
	env     *Env
	p       palette
	words   bool // the terminal has no ✓
	section string
	err     error // the first of a write
}

// mark is what stands before a finding. It never is its colour alone that tells.
func (d *doctorSheet) mark(status doctor.Status) (lipgloss.Style, string) {
	style, sign, word := d.p.label, "-", "skip"
	switch status {
	case doctor.OK:
		style, sign, word = d.p.good, "✓", "ok"
	case doctor.Warn:
		style, sign, word = d.p.warn, "!", "warn"
	case doctor.Fail:
		style, sign, word = d.p.bad, "✗", "FAIL"
	}
	if d.words {
		return style, fmt.Sprintf("%-4s", word)
	}
	return style, sign
}

// show prints a result. With --quiet only what needs doing is told.
func (d *doctorSheet) show(r doctor.Result) {
	var b strings.Builder
	whole := longest(r.Findings)
	for _, f := range r.Findings {
		if d.env.quiet && f.Status != doctor.Warn && f.Status != doctor.Fail {
			continue
		}
		if r.Section != d.section {
			d.section = r.Section
			b.WriteString(d.p.label.Render(r.Section) + "\n")
		}
		d.finding(&b, r.ID, f, whole)
	}
	if !d.env.quiet {
		d.upstreams(&b, r.Findings)
	}
	d.print(b.String())
}

// longest is what the bars of connections are drawn to, so that they can be compared.
func longest(findings []doctor.Finding) (whole time.Duration) {
	for _, f := range findings {
		var sum time.Duration
		for _, leg := range f.Legs {
			sum += leg.Took
		}
		whole = max(whole, sum)
	}
	return whole
}

// upstreams sets the times of several upstreams one below the other, to choose by.
func (d *doctorSheet) upstreams(b *strings.Builder, findings []doctor.Finding) {
	seen := 0
	for _, f := range findings {
		if f.Upstream != "" {
			seen++
		}
	}
	if seen > 1 {
		for _, line := range doctor.UpstreamTable(findings) {
			b.WriteString("  " + clean(line) + "\n")
		}
	}
}

// finding lays out one finding: its text is wrapped, its fix never, for it is copied.
func (d *doctorSheet) finding(b *strings.Builder, id string, f doctor.Finding, whole time.Duration) {
	style, sign := d.mark(f.Status)
	indent := 2 + utf8.RuneCountInString(sign) + 1 + len(id) + 1
	margin := strings.Repeat(" ", indent)
	for i, line := range wrap(clean(f.Text), statusWidth-indent) {
		if i == 0 {
			fmt.Fprintf(b, "  %s %s %s\n", style.Render(sign), id, line)
		} else {
			b.WriteString(margin + line + "\n")
		}
	}
	bad := f.Status == doctor.Fail || f.Status == doctor.Warn
	if f.Upstream != "" || bad || d.env.verbose {
		for _, line := range doctor.Bars(f.Legs, whole, statusWidth-indent, d.words) {
			b.WriteString(margin + line + "\n")
		}
	}
	if bad || d.env.verbose {
		for _, line := range f.Detail {
			for _, part := range wrap(clean(line), statusWidth-indent) {
				b.WriteString(margin + d.p.label.Render(part) + "\n")
			}
		}
	}
	if f.Fix != "" {
		b.WriteString(margin + "fix: " + clean(f.Fix) + "\n")
	}
}

// end prints the summary, which no other output follows.
func (d *doctorSheet) end(sum doctorSummary) error {
	parts := []string{fmt.Sprintf("%d ok", sum.OK)}
	if sum.Warnings > 0 {
		parts = append(parts, d.p.warn.Render(count(int64(sum.Warnings), "warning")))
	}
	if sum.Failed > 0 {
		parts = append(parts, d.p.bad.Render(fmt.Sprintf("%d failed", sum.Failed)))
	}
	if sum.Skipped > 0 {
		parts = append(parts, fmt.Sprintf("%d skipped", sum.Skipped))
	}
	d.print(fmt.Sprintf("%s   (%.1f s)\n", strings.Join(parts, ", "), sum.Seconds))
	return d.err
}

func (d *doctorSheet) print(text string) {
	if d.err == nil {
		_, d.err = io.WriteString(d.env.Stdout, text)
	}
}

// wrap breaks text at spaces into lines of at most width characters. A longer word
// has a line of its own: it may be an address that somebody copies.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}

// showsUTF8 reports whether ✓ can be shown, by what decides it for other programs.
// Terminals of macOS and Windows show it whatever the variables say.
func (e *Env) showsUTF8() bool {
	if e.Getenv("TERM") == "dumb" {
		return false
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := e.Getenv(name); value != "" {
			value = strings.ToLower(value)
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return runtime.GOOS == "darwin" || runtime.GOOS == "windows"
}
