package doctor

import (
	"cmp"
	"regexp"
	"runtime"
	"slices"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/serve"
)

// command is a next step that can be copied. Others are advice.
var command = regexp.MustCompile(`^(gomirror|go|git|eval|export|unset|chmod|sleep|curl|open|xdg-open|ssh-add|systemctl|sudo) `)

// goSumSays is of a checksum that go.sum has and nobody else.
var goSumSays = regexp.MustCompile(`(?m)^\s*go\.sum:\s+h1:|recorded in go\.sum`)

// ExplainFailure retells a failure that a sidecar remembers.
func ExplainFailure(f serve.Failure) Explanation {
	v := Verdict(f.Cause)
	if !slices.Contains(verdicts(), v) || v == Unknown || v == Fine {
		v = verdictOfText(f.Text)
	}
	mod := module.Version{Path: f.Module, Version: f.Version}
	fix := fixOf(v, Target{Path: f.Module, Version: f.Version}.String())
	if command.MatchString(f.Hint) {
		fix = runnable(runtime.GOOS, f.Hint)
	}
	return Explanation{Module: mod.Path, Version: mod.Version, Verdict: v, Text: printableText(f.Text), Fix: fix, Steps: []Step{}}
}

// LastFailures returns what a user wants to know of the failures that a sidecar
// remembers: the newest first, one a version and cause, and no guesses of the go
// command where something else failed.
func LastFailures(all []serve.Failure) []serve.Failure {
	var some []serve.Failure
	seen := make(map[[3]string]bool)
	for _, f := range slices.Backward(all) {
		id := [3]string{f.Module, f.Version, cmp.Or(f.Cause, f.Text)}
		if !seen[id] {
			some = append(some, f)
		}
		seen[id] = true
	}
	if real := slices.DeleteFunc(slices.Clone(some), serve.Failure.Probe); len(real) > 0 {
		return real
	}
	return some
}

// ExplainComplaint joins what go says with what a look at the module finds: that is
// newer and has a better fix, unless all is well by now.
func ExplainComplaint(c Complaint, live Explanation) Explanation {
	said := Explanation{Module: c.Module, Version: c.Version, Private: live.Private, Verdict: c.Verdict,
		Text: oneSentence(c.Text), Fix: c.Fix, Steps: live.Steps}
	if said.Steps == nil {
		said.Steps = []Step{}
	}
	switch {
	case live.Verdict == "" || live.Verdict == Retracted, c.Verdict == NotRunning && live.Verdict != NotRunning && live.Verdict.Failed():
		return said
	case live.Verdict == Fine && (c.Verdict.network() || c.Verdict.NeedsAuth() || c.Verdict == NotRunning || c.Verdict == NoAccess):
		said.Fix = "go mod download " + Target{Path: live.Module, Version: live.Version}.String()
		said.Text += "; it can be pulled by now"
		return said
	case badRequire.MatchString(c.Text): // go get would not do: go can't read the file
		if live.Verdict == Fine && live.Module == c.Module && live.Version != c.Version {
			said.Fix = inGoMod(c.Module, c.Version, live.Module, live.Version) // +incompatible
		}
		return said
	case live.Verdict == Fine && c.Verdict == ChecksumMismatch && live.Version != "" && goSumSays.MatchString(c.Text):
		said.Fix = dropSum(live.Module, live.Version) // all others agree
		return said
	case live.Verdict == Fine && c.Verdict == ChecksumMismatch:
		said.Fix = "go mod download " + Target{Path: live.Module, Version: live.Version}.String()
		return said
	case live.Verdict == OfflineMode && c.Verdict == OfflineMode:
		said.Fix = live.Fix
		return said
	case live.Verdict == Fine, live.Verdict == OfflineMode:
		return said
	}
	return live
}

// Telling reports whether a look at the module can tell more than go's words do.
func (c Complaint) Telling() bool {
	return c.Module != "" && c.Verdict != GoSum && c.Verdict != Retracted && c.Verdict != GoTooOld && c.Verdict != LocalFault
}
