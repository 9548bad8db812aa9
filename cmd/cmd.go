// Package cmd is gomirror's command line.
//
// One file holds one command: newX declares it, runX does it. Everything a command
// may touch comes in an [Env], so that a test can be a whole process or none. This
// package alone reads flags, the environment and the XDG folders; what lies below
// is given values.
//
// Output rules: what was asked for goes to stdout and nothing else does; notes and
// errors go to stderr; an error is one line "gomirror: cause" and, where the next
// step is known, one line "try: step". A command that fails prints nothing on
// stdout, because `eval "$(gomirror env)"` would run it.
package cmd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/upstream"
)

// Env is all that a command may touch.
type Env struct {
	Args    []string // without the program's name
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Getenv  func(string) string
	Environ func() []string
	Now     func() time.Time

	// Caller returns the name of the program that started us, "" if not known.
	Caller func() string

	// Exec runs a program in dir with exactly the given environment and returns
	// its standard output. The error tells what the program said on stderr.
	Exec func(ctx context.Context, dir string, environ []string, name string, args ...string) ([]byte, error)

	// Dial opens the connections to upstreams; nil means a net.Dialer. It is the
	// seam by which tests stand in for hosts.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Lookup finds the addresses of the hosts that git asks; nil means the system's
	// resolver. It goes with Dial.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	// Secrets is the keychain; the zero one means the system's.
	Secrets credential.Keychain

	// Look changes what doctor looks at; nil leaves it as it is. Tests have it put in
	// what no process can change: resolvers, a hosts file, a disk that is full.
	Look func(doctor.Options) doctor.Options

	globals // set by the root's flags
}

// globals are the flags that every command takes.
type globals struct {
	json    bool
	quiet   bool
	verbose bool
	color   string
}

// OSEnv is the Env of this process.
func OSEnv() *Env {
	return &Env{
		Args:    os.Args[1:],
		Stdin:   os.Stdin,
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Getenv:  os.Getenv,
		Environ: os.Environ,
		Now:     time.Now,
		Caller:  callerName,
		Exec:    execProgram,
	}
}

// lookup is os.LookupEnv on e: it tells an empty variable from an unset one. Of
// several definitions the last counts, as with [exec.Cmd].
func (e *Env) lookup(name string) (string, bool) {
	value, ok := "", false
	for _, kv := range e.Environ() {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			value, ok = v, true
		}
	}
	return value, ok
}

// Run runs the command that env.Args names and returns the exit code.
func Run(ctx context.Context, env *Env) int {
	if handle, ok := env.lookup(upstream.AskpassVariable); ok && len(env.Args) == 1 {
		// git asks, deep below a daemon of ours. It says itself if there is no answer.
		_ = hardenProcess() // the token passes through
		if upstream.Askpass(handle, env.Args[0], env.Stdout) != nil {
			return exitFailed
		}
		return exitDone
	}
	hush()
	root := newRoot(env)
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	return env.report(ctx, root.ExecuteContext(ctx))
}

// newRoot puts the commands together. cobra prints neither errors nor usage, for
// both have one place, report.
func newRoot(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "gomirror",
		Short: "A Go module proxy of your own on localhost",
		Long: `gomirror is a Go module proxy on your own machine: go pulls through it, and what it
has served once it serves again without a network.

  gomirror serve --background   start it
  eval "$(gomirror env)"        point this shell's go command at it`,
		SilenceErrors: true, // printed by report
		SilenceUsage:  true,
		Version:       buildVersion().Version,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(c, args[0])
			}
			return c.Help()
		},
	}
	root.SetVersionTemplate("gomirror {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	flags := root.PersistentFlags()
	flags.BoolVar(&env.json, "json", false, "print one JSON document")
	flags.BoolVarP(&env.quiet, "quiet", "q", false, "print no notes")
	flags.BoolVarP(&env.verbose, "verbose", "v", false, "print more: serve logs each request")
	flags.StringVar(&env.color, "color", "auto", "colour the output: `auto`, always or never")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return checkColor(env.color) }
	root.AddCommand(
		newServe(env),
		newEnv(env),
		newStatus(env),
		newStop(env),
		newDoctor(env),
		newRefresh(env),
		newResolve(env),
		newAuth(env),
		newConfig(env),
		newCache(env),
		newVersion(env),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(env.Args...)
	return root
}

// callerName reads what Linux tells about our parent; elsewhere there is no such file.
func callerName() string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", os.Getppid()))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}

// execProgram runs a child of ours. A child is looked up in PATH once; a program in
// the current folder is never run, see exec.ErrDot.
func execProgram(ctx context.Context, dir string, environ []string, name string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env = dir, slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		return strings.HasPrefix(kv, tokenVariable+"=") // no child of ours needs it
	})
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil && stderr.Len() > 0 {
		first, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		return nil, &execError{err, first}
	}
	return out, err
}

// execError is the failure of a child with the first line of what it said.
type execError struct {
	err  error
	said string
}

func (e *execError) Error() string { return e.err.Error() + ": " + e.said }
func (e *execError) Unwrap() error { return e.err }
