// Package doctor finds out why the go command can't pull through gomirror, and names
// the one command that mends it.
//
// A [Check] looks at one thing and changes nothing: it never starts, fetches, writes or
// repairs. [Run] runs them all at once, each with its own limit, and shows the results
// in the listed order as they come. What a check may look at comes in [Options]; this
// package reads no flag, no environment and no folder of its own accord.
package doctor

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// checkLimit is how long one check may take. A dead network is the usual case here, and
// nobody waits longer to hear of it.
const checkLimit = 5 * time.Second

// Status is how a check ended.
type Status string

// The ends of a check. A warning is what may go wrong later, or for others.
const (
	OK      Status = "ok"
	Warn    Status = "warn"
	Fail    Status = "fail"
	Skipped Status = "skipped" // there was nothing to look at, or it was not wanted
)

// Check looks at one thing.
type Check struct {
	ID      string // such as "E04"; scripts go by it, so it never changes
	Section string // what it is about: "go", "daemon", "storage", "auth", "network", "cache"

	// Run returns the findings, usually one. It honours ctx.
	Run func(ctx context.Context) []Finding
}

// Finding is one thing that a check has to say.
type Finding struct {
	Status Status
	Text   string   // one sentence
	Fix    string   // one command to copy that turns the check green; "" where nothing is wrong
	Detail []string // further lines, for who wants to know more
	Legs   []Leg    // of a connection, in the order in which they were made; may be nil

	Upstream string // whose legs these are, without password; "" if it is no upstream
	Login    string // the user's name on a host, where the text has it: a bundle hides it
}

// Leg is a part of a connection and how long it took.
type Leg struct {
	Name string // "dns", "tcp", "proxy", "tls" or "first byte"
	Took time.Duration
	Err  string // "" if it came about
}

// Result is what came of a check.
type Result struct {
	ID, Section string
	Findings    []Finding
	Took        time.Duration
}

// Worst returns the status that counts for the whole result.
func (r Result) Worst() Status {
	worst := Skipped
	for _, status := range []Status{OK, Warn, Fail} {
		if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Status == status }) {
			worst = status
		}
	}
	return worst
}

// Run runs the checks at once and calls show with each result, in the order of checks.
// A check that panics or takes too long fails alone.
func Run(ctx context.Context, checks []Check, show func(Result)) []Result {
	done := make([]chan Result, len(checks))
	for i, c := range checks {
		done[i] = make(chan Result, 1)
		go func() { done[i] <- c.look(ctx) }() // ends with checkLimit at the latest, as look does
	}
	results := make([]Result, len(checks))
	for i := range checks {
		results[i] = <-done[i]
		show(results[i])
	}
	return results
}

// look runs one check. It does not wait for one that ignores its limit: a look-up in
// the system's resolver can hang in C.
func (c Check) look(ctx context.Context) Result {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	found := make(chan []Finding, 1)
	go func() { // ends with the check, which ctx should end
		defer func() {
			if p := recover(); p != nil {
				found <- []Finding{{Status: Fail, Text: fmt.Sprintf("gomirror has a bug: check %s panicked: %v", c.ID, p),
					Fix: "gomirror doctor --skip " + c.ID, Detail: []string{string(debug.Stack())}}}
			}
		}()
		found <- c.Run(ctx)
	}()
	grace := time.NewTimer(checkLimit + checkLimit/10)
	defer grace.Stop()
	select {
	case findings := <-found:
		return Result{c.ID, c.Section, findings, time.Since(start)}
	case <-grace.C:
		return Result{c.ID, c.Section, []Finding{{Status: Fail, Text: fmt.Sprintf("check %s did not end within %v", c.ID, checkLimit),
			Fix: "gomirror doctor --skip " + c.ID}}, time.Since(start)}
	}
}
