package cmd

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve/daemon"
)

// serveOptions are the flags of serve that are no settings.
type serveOptions struct {
	background bool
	rotateURL  bool // take a new capability
	detached   bool // we are the child that --background started
}

// newServe declares serve. Settings that need no flag have none: the fewer flags, the
// less a start in one shell differs from a start in another.
func newServe(env *Env) *cobra.Command {
	var opts serveOptions
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the module proxy",
		Args:  arguments(""),
		RunE: func(c *cobra.Command, _ []string) error {
			return runServe(c.Context(), env, c.Flags(), opts)
		},
	}
	flags := c.Flags()
	flags.BoolVar(&opts.background, "background", false, "return once it answers, and leave it running")
	flags.BoolVar(&opts.rotateURL, "rotate-url", false, "take a new address: shells set up before need gomirror env again")
	flags.BoolVar(&opts.detached, "detached", false, "log to the state folder")
	_ = flags.MarkHidden("detached") // its only error is a wrong name
	settingFlags(flags, serveSettings()...)
	return c
}

// serveSettings are the settings that serve has flags for.
func serveSettings() []string {
	return []string{"upstream", "private", "listen", "cache.dir", "allow_host", "prefetch", "offline"}
}

// settingFlags declares the flags of settings. Their values are read by
// loadSettings.
func settingFlags(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		k, err := findKey(name, "")
		if err != nil {
			panic(err) // a name misspelt in this package
		}
		switch k.field(&settings{}).(type) {
		case *bool:
			flags.Bool(k.flag(), false, k.usage)
		case *[]string:
			flags.StringSlice(k.flag(), nil, k.usage)
		case *string:
			flags.String(k.flag(), "", k.usage)
		}
	}
}

// runServe reads the settings before it decides anything, so that a mistake in them
// is told here and not in the log of a child.
func runServe(ctx context.Context, env *Env, flags *pflag.FlagSet, opts serveOptions) error {
	s, err := loadSettings(env, flags)
	if err != nil {
		return err
	}
	if opts.background {
		return serveBackground(ctx, env, s, opts)
	}
	if env.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	return serveForeground(ctx, env, s, opts)
}

// memoryLimit is the memory from which on the garbage collector runs more often. A pull
// of 175 modules takes 30 to 45 MiB and now and then, with many zips at once, 20 more;
// with the pages of the program it is to stay below 64 MiB. It bounds nothing: what a zip
// of 190,000 files needs it gets.
const memoryLimit = 44 << 20

// serveBackground leaves a daemon running. One that runs already is as good; that
// it goes by other settings than were asked for is told.
func serveBackground(ctx context.Context, env *Env, s *settings, opts serveOptions) error {
	state := "already running"
	doc, err := askStatus(ctx, s)
	switch {
	case errors.Is(err, daemon.ErrNotRunning):
		if err := startSidecar(ctx, env, s, opts); err != nil {
			return err
		}
		state = "serving"
		doc, err = askStatus(ctx, s)
	case err == nil && (opts.rotateURL || s.fromFlags()):
		env.note("%s%s", staleSettings, env.startAnew(ctx, s))
	}
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(doc)
	}
	env.announce(doc, state)
	return nil
}

// staleSettings is told who changes settings beside a running daemon, before the
// command that has it go by them.
const staleSettings = "it runs with what it was started with; to change that: "

// startAnew is the command that starts the running daemon anew with the settings of s.
// What it has from another shell's flags and variables it keeps, but for changed.
func (e *Env) startAnew(ctx context.Context, s *settings, changed ...string) string {
	look := doctor.Options{GOOS: runtime.GOOS, Private: s.private, Settings: s.shown(),
		Daemon: sync.OnceValue(func() doctor.Daemon { return lookAtDaemon(ctx, s) }),
		Go:     sync.OnceValue(func() doctor.Go { return e.lookAtGo(ctx) }),
	}
	var flags []doctor.Setting // of this command
	for _, own := range s.shown() {
		if own.From == own.Flag && own.Flag != "" {
			flags = append(flags, own)
			if own.Name != "private" { // of which none gets lost
				changed = append(changed, own.Name)
			}
		}
	}
	command := doctor.Restart(look, changed...)
	for _, own := range flags {
		if !strings.Contains(command, own.Flag+" ") {
			command += " " + own.Spelt()
		}
	}
	return command
}

// online is what ends --offline. A plain start would lose other flags, --private above
// all, and go shows one line of what we say: there the doctor has the command.
func online(s *settings) string {
	for _, own := range s.shown() {
		byFlag := own.Flag != "" && own.From == own.Flag
		switch own.Name {
		case "listen": // is kept by itself
		case "offline":
			if !byFlag {
				return "gomirror doctor --last"
			}
		default:
			if byFlag {
				return "gomirror doctor --last"
			}
		}
	}
	return "gomirror stop; gomirror serve --background"
}

// announce tells in one line that the daemon of doc serves, and what to do next. The
// address is shown without the capability: this line ends up in logs.
func (e *Env) announce(doc *statusDoc, state string) {
	if e.quiet {
		return
	}
	fmt.Fprintf(e.Stdout, "%s on %s, cache %s, upstream %s; next: eval \"$(gomirror env)\"\n",
		state, doc.Address, doc.Cache.Dir, doc.Upstream)
}
