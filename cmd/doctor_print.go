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

// doctorDoc is the document of `doctor --json`. Fields are only ever added to schema
// version 1, and an ID never changes its meaning.
type doctorDoc struct {
	SchemaVersion int           `json:"schema_version"`
	Summary       doctorSummary `json:"summary"`
	Checks        []checkDoc    `json:"checks"`
}

// checkDoc is what came of one check.
type checkDoc struct {
	ID       string        `json:"id"`
	Section  string        `json:"section"`
	Status   doctor.Status `json:"status"` // the worst of its findings
	TookMS   int64         `json:"took_ms"`
	Findings []findingDoc  `json:"findings"`
}

type findingDoc struct {
	Status doctor.Status `json:"status"`
	Text   string        `json:"text"`
	Fix    string        `json:"fix,omitempty"`
	Detail []string      `json:"detail,omitempty"`
	Legs   []legDoc      `json:"legs,omitempty"`
}

// legDoc is a part of a connection.
type legDoc struct {
	Name   string  `json:"name"`
	TookMS float64 `json:"took_ms"`
	Error  string  `json:"error,omitempty"`
}

// newDoctorDoc redacts as the terminal's output does: people paste both.
func newDoctorDoc(results []doctor.Result, sum doctorSummary) doctorDoc {
	doc := doctorDoc{SchemaVersion: 1, Summary: sum, Checks: []checkDoc{}}
	for _, r := range results {
		check := checkDoc{ID: r.ID, Section: r.Section, Status: r.Worst(), TookMS: r.Took.Milliseconds(), Findings: []findingDoc{}}
		for _, f := range r.Findings {
			found := findingDoc{Status: f.Status, Text: clean(f.Text), Fix: clean(f.Fix)}
			for _, line := range f.Detail {
				found.Detail = append(found.Detail, clean(line))
			}
			for _, leg := range f.Legs {
				ms := float64(leg.Took.Microseconds()) / 1000
				found.Legs = append(found.Legs, legDoc{leg.Name, ms, clean(leg.Err)})
			}
			check.Findings = append(check.Findings, found)
		}
		doc.Checks = append(doc.Checks, check)
	}
	return doc
}

// clean takes out what others must not see, and what a terminal would obey: some of
// the text is what a host or a file said.
func clean(text string) string { return printable(serve.Redact(text)) }

// summarize counts the checks.
func summarize(results []doctor.Result, took time.Duration) doctorSummary {
	sum := doctorSummary{Seconds: float64(took.Round(100*time.Millisecond)) / float64(time.Second), onlyAuth: true}
	for _, r := range results {
		switch r.Worst() {
		case doctor.OK:
			sum.OK++
		case doctor.Warn:
			sum.Warnings++
		case doctor.Fail:
			sum.Failed++
			sum.onlyAuth = sum.onlyAuth && strings.HasPrefix(r.ID, "A")
		case doctor.Skipped:
			sum.Skipped++
		}
	}
	return sum
}

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
	for _, f := range r.Findings {
		if d.env.quiet && f.Status != doctor.Warn && f.Status != doctor.Fail {
			continue
		}
		if r.Section != d.section {
			d.section = r.Section
			b.WriteString(d.p.label.Render(r.Section) + "\n")
		}
		d.finding(&b, r.ID, f)
	}
	d.print(b.String())
}

// finding lays out one finding: its text is wrapped, its fix never, for it is copied.
func (d *doctorSheet) finding(b *strings.Builder, id string, f doctor.Finding) {
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
	if f.Status == doctor.Fail || f.Status == doctor.Warn || d.env.verbose {
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
