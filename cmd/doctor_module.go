package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve"
)

// explainedDoc is the document of `doctor MODULE --json`.
type explainedDoc struct {
	SchemaVersion int `json:"schema_version"`
	doctor.Explanation
}

// lastDoc is the document of `doctor --last --json`.
type lastDoc struct {
	SchemaVersion int          `json:"schema_version"`
	Failures      []failureDoc `json:"failures"` // the newest first
}

type failureDoc struct {
	At     time.Time `json:"at"`
	Times  int       `json:"times"`
	Status int       `json:"status"` // of our answer
	doctor.Explanation
}

// readDoc is the document of `doctor - --json`.
type readDoc struct {
	SchemaVersion int            `json:"schema_version"`
	Complaints    []complaintDoc `json:"complaints"`
}

type complaintDoc struct {
	Said string `json:"said"` // by the go command
	doctor.Explanation
}

const (
	liveLimit = 5  // modules of go's output that are looked at
	lastLimit = 10 // failures that are shown; the document has all
)

// runDoctorPull explains pulls: of the module that args name, of go's output on stdin,
// or the last that failed.
func runDoctorPull(ctx context.Context, env *Env, opts doctorOptions, args []string) error {
	switch {
	case opts.last:
		return runDoctorLast(ctx, env, opts.strict)
	case len(args) == 1 && args[0] == "-":
		return runDoctorRead(ctx, env, opts)
	}
	text := strings.Join(args, " ")
	target, err := doctor.ParseTarget(text)
	if err != nil {
		hint := "the path as it stands in go.mod: gomirror doctor github.com/OWNER/NAME"
		if near := nearest(text, checkNames(doctor.Checks(doctor.Options{}))); near != "" {
			hint = "gomirror doctor --only " + near
		}
		return usagef(hint, "%w", err)
	}
	look, err := env.lookToExplain(ctx, opts)
	if err != nil {
		return err
	}
	sheet := newPullSheet(env)
	got := doctor.Explain(ctx, look, target, sheet.step)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if env.json {
		err = env.printJSON(explainedDoc{1, got})
	} else {
		sheet.conclude(got)
		err = sheet.err
	}
	return errors.Join(err, pullVerdict(opts.strict, got))
}

// lookToExplain is lookAround for who will show a token.
func (e *Env) lookToExplain(ctx context.Context, opts doctorOptions) (doctor.Options, error) {
	look, err := e.lookAround(ctx, opts.offline)
	if err != nil {
		return look, err
	}
	if err := hardenProcess(); err != nil {
		e.note("crash dumps may tell secrets: %v", err)
	}
	return look, nil
}

// readComplaints reads to the end, or until the user has enough of that.
func (e *Env) readComplaints(ctx context.Context) (complaints []doctor.Complaint, err error) {
	read := make(chan struct{})
	go func() { // ends with the input, or with the process: a read can't be called off
		defer close(read)
		complaints, err = doctor.ReadGoOutput(e.Stdin)
	}()
	select {
	case <-read:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("read what go printed: %w", err)
	}
	return complaints, nil
}

// runDoctorRead explains what go printed. It reads to the end first: in a pipe go is
// still at work.
func runDoctorRead(ctx context.Context, env *Env, opts doctorOptions) error {
	if in, ok := env.Stdin.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		env.note("waiting for what go printed; mostly it comes by a pipe: go build 2>&1 | gomirror doctor -")
	}
	complaints, err := env.readComplaints(ctx)
	if err != nil {
		return err
	}
	doc := readDoc{SchemaVersion: 1, Complaints: []complaintDoc{}}
	look, err := env.lookToExplain(ctx, opts)
	if err != nil {
		return err
	}
	sheet := newPullSheet(env)
	looked := make(map[string]doctor.Explanation)
	var all []doctor.Explanation
	for i, c := range complaints {
		sheet.said(i, c.FirstWords())
		target := doctor.Target{Path: c.Module, Version: c.Version}
		live, known := looked[target.String()]
		if !known && c.Telling() && len(looked) < liveLimit {
			live = doctor.Explain(ctx, look, target, sheet.step)
			looked[target.String()] = live
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		got := doctor.ExplainComplaint(c, live)
		got.Fix = doctor.KeepGiven(look, got.Fix)
		sheet.conclude(got)
		all = append(all, got)
		doc.Complaints = append(doc.Complaints, complaintDoc{c.Text, got})
	}
	switch {
	case env.json:
		err = env.printJSON(doc)
	case len(complaints) == 0:
		sheet.line("go complains of no module here")
		err = sheet.err
	default:
		err = sheet.err
	}
	return errors.Join(err, pullVerdict(opts.strict, all...))
}

// runDoctorLast explains what the sidecar remembers.
func runDoctorLast(ctx context.Context, env *Env, strict bool) error {
	client, err := controlSocket()
	if err != nil {
		return err
	}
	var remembered []serve.Failure
	if err := client.Failures(ctx, &remembered); err != nil {
		return err
	}
	doc := lastDoc{SchemaVersion: 1, Failures: []failureDoc{}}
	look, err := env.lookAround(ctx, true)
	if err != nil {
		return err
	}
	var all []doctor.Explanation
	for _, f := range doctor.LastFailures(remembered) {
		got := doctor.ExplainFailure(f)
		got.Fix = doctor.KeepGiven(look, got.Fix)
		all = append(all, got)
		doc.Failures = append(doc.Failures, failureDoc{f.At, f.Times, f.Status, got})
	}
	if env.json {
		return errors.Join(env.printJSON(doc), pullVerdict(strict, all...))
	}
	sheet := newPullSheet(env)
	if len(all) == 0 {
		sheet.line("no pull has failed since gomirror started")
	}
	for i, f := range doc.Failures {
		if i == lastLimit {
			sheet.line(fmt.Sprintf("and %d more: gomirror doctor --last --json", len(doc.Failures)-i))
			break
		}
		times := ""
		if f.Times > 1 {
			times = fmt.Sprintf(", %d times", f.Times)
		}
		target := doctor.Target{Path: f.Module, Version: f.Version}
		sheet.line(fmt.Sprintf("%s  %s%s", f.At.Local().Format(time.TimeOnly), target, times))
		sheet.conclude(f.Explanation)
	}
	return errors.Join(sheet.err, pullVerdict(strict, all...))
}

// pullVerdict is the exit code of explanations.
func pullVerdict(strict bool, all ...doctor.Explanation) error {
	failed, onlyAuth := false, true
	for _, e := range all {
		if e.Verdict.Failed() || strict && e.Verdict != doctor.Fine {
			failed, onlyAuth = true, onlyAuth && e.Verdict.NeedsAuth()
		}
	}
	switch {
	case failed && onlyAuth:
		return exitCode(exitNeedsAuth)
	case failed:
		return exitCode(exitFailed)
	}
	return nil
}
