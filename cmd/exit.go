package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gomirror/gomirror/serve"
)

// The exit codes, fixed by DESIGN so that scripts can tell them apart.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotRunning  = 3
	exitNeedsAuth   = 4
	exitInterrupted = 130 // 128 + SIGINT, as shells have it
)

// problem is an error that knows its exit code and the next step.
type problem struct {
	err  error
	code int
	hint string
}

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

// Hint returns the one command or short instruction that mends it.
func (p *problem) Hint() string { return p.hint }

// exitCode is the end of a command whose output has told all there is to tell.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// usagef is an error in what was typed.
func usagef(hint, format string, args ...any) error {
	return &problem{fmt.Errorf(format, args...), exitUsage, hint}
}

// failf is any other error whose mending is known.
func failf(hint, format string, args ...any) error {
	return &problem{fmt.Errorf(format, args...), exitFailed, hint}
}

// report prints err and returns the exit code. It is the only place that prints an
// error.
func (e *Env) report(ctx context.Context, err error) int {
	if err == nil {
		return exitDone
	}
	code := exitFailed
	var p *problem
	var told exitCode
	switch {
	case errors.As(err, &told):
		return int(told)
	case errors.As(err, &p):
		code = p.code
	case errors.Is(err, context.Canceled) && ctx.Err() != nil, errors.Is(err, errInterrupted):
		// The user knows what they pressed: no text.
		return exitInterrupted
	}
	fmt.Fprintf(e.Stderr, "gomirror: %s\n", serve.Redact(err.Error()))
	var hinter interface{ Hint() string }
	if errors.As(err, &hinter) && hinter.Hint() != "" {
		fmt.Fprintf(e.Stderr, "try: %s\n", hinter.Hint())
	}
	return code
}

// note tells the user something on stderr that is not an error.
func (e *Env) note(format string, args ...any) {
	if !e.quiet {
		fmt.Fprintf(e.Stderr, "gomirror: "+format+"\n", args...)
	}
}

// unknownCommand is cobra's own error in one line.
func unknownCommand(c *cobra.Command, name string) error {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	hint := c.CommandPath() + " --help"
	if near := nearest(name, names); near != "" {
		hint = c.CommandPath() + " " + near
	}
	return usagef(hint, "unknown command %q", name)
}

// flagError gives pflag's errors the nearest flag or the help as next step.
func flagError(c *cobra.Command, err error) error {
	hint := c.CommandPath() + " --help"
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := nearest(unknown.GetSpecifiedName(), names); near != "" {
			hint = c.CommandPath() + " --" + near
		}
	}
	return &problem{err, exitUsage, hint}
}

// group makes c a command that only has others below it.
func group(c *cobra.Command, subs ...*cobra.Command) *cobra.Command {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(c, args[0])
		}
		return usagef(c.CommandPath()+" --help", "%s needs one of its commands", c.CommandPath())
	}
	c.AddCommand(subs...)
	return c
}

// arguments accepts as many arguments as names has words.
func arguments(names string) cobra.PositionalArgs {
	want := len(strings.Fields(names))
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < want:
			return usagef(c.CommandPath()+" "+names, "%s needs %s", c.CommandPath(), names)
		case len(args) > want:
			return usagef(c.CommandPath()+" --help", "%s takes no argument %q", c.CommandPath(), args[want])
		}
		return nil
	}
}

// nearest returns the candidate that name is most likely a misspelling of, or "".
func nearest(name string, candidates []string) string {
	best, bestDist := "", 1+max(2, len(name)/3) // more edits than that is another word
	for _, c := range candidates {
		if d := levenshtein.ComputeDistance(strings.ToLower(name), c); d < bestDist {
			best, bestDist = c, d
		}
	}
	return best
}
