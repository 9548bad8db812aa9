package cmd

import (
	"strings"
	"time"

	"github.com/gomirror/gomirror/doctor"
)

// doctorDoc is the document of `doctor --json`. Fields are only ever added to schema
// version 1, and an ID never changes its meaning.
type doctorDoc struct {
	SchemaVersion int           `json:"schema_version"`
	Summary       doctorSummary `json:"summary"`
	Checks        []checkDoc    `json:"checks"`
	Bundle        *bundleDoc    `json:"bundle,omitempty"`

	logins []string // that are in the findings
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

	Upstream string   `json:"upstream,omitempty"` // whose legs these are
	Legs     []legDoc `json:"legs,omitempty"`
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
			check.Findings = append(check.Findings, newFindingDoc(f))
			if f.Login != "" {
				doc.logins = append(doc.logins, f.Login)
			}
		}
		doc.Checks = append(doc.Checks, check)
	}
	return doc
}

func newFindingDoc(f doctor.Finding) findingDoc {
	doc := findingDoc{Status: f.Status, Text: clean(f.Text), Fix: clean(f.Fix), Upstream: clean(f.Upstream)}
	for _, line := range f.Detail {
		doc.Detail = append(doc.Detail, clean(line))
	}
	for _, leg := range f.Legs {
		doc.Legs = append(doc.Legs, legDoc{leg.Name, float64(leg.Took.Microseconds()) / 1000, clean(leg.Err)})
	}
	return doc
}

// doctorSummary counts checks by how they ended.
type doctorSummary struct {
	OK       int     `json:"ok"`
	Warnings int     `json:"warnings"`
	Failed   int     `json:"failed"`
	Skipped  int     `json:"skipped"`
	Seconds  float64 `json:"seconds"`

	onlyAuth bool // whatever failed was about tokens
}

// verdict is the exit code as an error without a text: all has been said.
func (s doctorSummary) verdict(strict bool) error {
	switch {
	case s.Failed > 0 && s.onlyAuth && !(strict && s.Warnings > 0):
		return exitCode(exitNeedsAuth)
	case s.Failed > 0, strict && s.Warnings > 0:
		return exitCode(exitFailed)
	}
	return nil
}

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
