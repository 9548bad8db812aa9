package cmd

import (
	"fmt"
	"strings"

	"github.com/gomirror/gomirror/doctor"
)

// pullSheet prints explanations: steps as they come, then the conclusion.
type pullSheet struct {
	doctorSheet
	steps int
}

func newPullSheet(env *Env) *pullSheet {
	return &pullSheet{doctorSheet: doctorSheet{env: env, p: env.palette(), words: !env.showsUTF8()}}
}

func (s *pullSheet) line(text string) { s.write(clean(text) + "\n") }

// write keeps stdout to the document with --json.
func (s *pullSheet) write(text string) {
	if !s.env.json {
		s.print(text)
	}
}

// stepIndent is that of a step's text: the mark, the name, and the room between.
const stepIndent = 14

// step shows one.
func (s *pullSheet) step(step doctor.Step) {
	s.steps++
	if s.env.quiet && step.Status != doctor.Fail && step.Status != doctor.Warn {
		return
	}
	style, sign := s.mark(step.Status)
	margin := strings.Repeat(" ", stepIndent+len([]rune(sign))-1)
	var b strings.Builder
	for i, line := range wrap(clean(step.Text), statusWidth-len(margin)) {
		if i == 0 {
			fmt.Fprintf(&b, "  %s %-9s %s\n", style.Render(sign), step.Name, line)
		} else {
			b.WriteString(margin + line + "\n")
		}
	}
	if step.Status == doctor.Fail || step.Status == doctor.Warn || s.env.verbose {
		for _, detail := range step.Detail {
			for _, line := range wrap(clean(detail), statusWidth-len(margin)) {
				b.WriteString(margin + s.p.label.Render(line) + "\n")
			}
		}
	}
	s.write(b.String())
}

// said repeats go's own words, as far as they are needed to know them again.
func (s *pullSheet) said(i int, text string) {
	first, _, _ := strings.Cut(text, "\n")
	gap := ""
	if i > 0 {
		gap = "\n"
	}
	s.write(gap + s.p.label.Render("go says: "+clean(first)) + "\n")
}

// conclude prints the verdict, the sentence and the fix.
func (s *pullSheet) conclude(e doctor.Explanation) {
	style := s.p.good
	switch {
	case e.Verdict.Failed():
		style = s.p.bad
	case e.Verdict != doctor.Fine:
		style = s.p.warn
	}
	var b strings.Builder
	lines := wrap(clean(string(e.Verdict)+": "+e.Text), statusWidth-2)
	for i, line := range lines {
		if rest, ok := strings.CutPrefix(line, string(e.Verdict)); ok && i == 0 {
			line = style.Render(string(e.Verdict)) + rest
		} else {
			line = "  " + line
		}
		b.WriteString(line + "\n")
	}
	if e.Fix != "" {
		b.WriteString("  fix: " + clean(e.Fix) + "\n")
	}
	s.write(b.String())
}
