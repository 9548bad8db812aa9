package cmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gomirror/gomirror/serve/upstream"
)

// envOptions are the flags of env.
type envOptions struct {
	shell    string // a name of dialects, or "" to find out
	fallback string // one of fallbacks, or "" to follow the table
	unset    bool
}

// newEnv declares env. Its help shows the eval first: that is what people look up.
func newEnv(env *Env) *cobra.Command {
	var opts envOptions
	c := &cobra.Command{
		Use:   "env",
		Short: "Print what points this shell's go command at gomirror",
		Long: `Print the statements that point this shell's go command at gomirror:

  eval "$(gomirror env)"           sh, bash, zsh
  gomirror env | source            fish
  eval "$(gomirror env --unset)"   give it all back

It starts, fetches and writes nothing.`,
		Args: arguments(""),
		RunE: func(c *cobra.Command, _ []string) error { return runEnv(c.Context(), env, opts) },
	}
	flags := c.Flags()
	flags.StringVar(&opts.shell, "shell", "", "`dialect`: posix, bash, zsh, sh, fish, json or dotenv")
	flags.StringVar(&opts.fallback, "fallback", "", "what go asks when gomirror fails: `direct`, off, cache or upstream")
	flags.BoolVar(&opts.unset, "unset", false, "give back what was there before")
	return c
}

// runEnv prints notes after the statements, so that a terminal shows them last.
func runEnv(ctx context.Context, env *Env, opts envOptions) error {
	write, err := env.dialectNamed(opts.shell)
	if err != nil {
		return err
	}
	if opts.fallback != "" && !slices.Contains(fallbacks(), opts.fallback) {
		return usagef("gomirror env --fallback direct", "unknown fallback %q: want %s", opts.fallback, strings.Join(fallbacks(), ", "))
	}
	orig, err := env.originals()
	if err != nil {
		return err
	}
	if opts.unset {
		return env.printAssignments(write, env.restoring(orig))
	}
	list, notes, err := settingUp(ctx, env, orig, opts.fallback)
	if err != nil {
		return err
	}
	if err := env.printAssignments(write, list); err != nil {
		return err
	}
	for _, note := range notes {
		env.note("%s", note)
	}
	if env.onTerminal() && len(list) > 0 {
		env.note("printed only; to run it: eval \"$(gomirror env)\"")
	}
	return nil
}

// settingUp returns the assignments that point a shell at gomirror, and what to tell
// the user about them. The order is: what the user has, whether that forbids us,
// whether the listener is ours, what it serves, and only then a plan.
func settingUp(ctx context.Context, env *Env, orig originals, fallback string) ([]assignment, []string, error) {
	s, err := loadSettings(env, nil)
	if err != nil {
		return nil, nil, err
	}
	user, err := env.runGoEnv(ctx, orig)
	if err != nil {
		return nil, nil, err
	}
	in := planInput{
		user:     *user,
		proxy:    upstream.Strip(user.GOPROXY),
		config:   s.private,
		fallback: fallback,
		cacheDir: s.cacheDir,
		restart:  func() string { return env.startAnew(ctx, s) },
	}
	if in.proxy == "" { // it held nothing but us, so the user's own is not known
		own, err := builtinGoEnv(ctx, env)
		if err != nil {
			return nil, nil, err
		}
		in.proxy = own.GOPROXY
	}
	if strings.TrimSpace(in.proxy) == "off" {
		// Said before we look for a daemon: who forbids downloads needs none.
		p, err := makePlan(in)
		return nil, p.notes, err
	}
	if in.tokens, _, err = env.tokenPlaces(env.tokens(s, 0)); err != nil {
		return nil, nil, err // with a token unknown a mirror might stand behind us
	}
	c, err := findSidecar(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	in.address, in.running, in.held = c.url(), c.running, in.tokens
	var notes []string
	if c.running {
		doc, err := askStatus(ctx, s)
		if err != nil {
			return nil, nil, err
		}
		in.served, in.private = doc.Served, doc.Private
		in.held, in.tokens = doc.Tokens, unite(in.tokens, doc.Tokens)
		in.unasked = doc.Unasked
		in.upstream, in.cacheDir = doc.Upstream, cmp.Or(doc.Cache.Dir, s.cacheDir)
	} else {
		notes = append(notes, fmt.Sprintf("not running, so go falls back; to start it on %s: gomirror serve --background", c.addr))
	}
	// Of a daemon that is down it is the next one's upstream that counts.
	in.upstream = cmp.Or(in.upstream, s.upstream, in.proxy)
	p, err := makePlan(in)
	if err != nil {
		return nil, nil, err
	}
	list, err := env.assignments(p, orig)
	return list, append(notes, p.notes...), err
}

// assignments returns what brings the current environment to the plan. Running env
// twice gives the same assignments twice.
func (e *Env) assignments(p plan, orig originals) ([]assignment, error) {
	var list []assignment
	for _, name := range goVars() {
		if value, ok := p.set[name]; ok {
			list = append(list, assignment{name, &value})
		} else if a := (assignment{name, orig[name]}); e.differs(a) {
			list = append(list, a) // an earlier plan set it, this one does not
		}
	}
	for _, name := range goVars() {
		// What could not be given back by --unset is refused now.
		if err := checkValues([]assignment{{name, orig[name]}}); err != nil {
			return nil, err
		}
	}
	encoded, err := orig.encode(p.set)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", originalsVar, err)
	}
	return append(list, assignment{originalsVar, &encoded}), nil
}

// restoring returns what gives the user's own values back. A shell that was never
// set up needs nothing.
func (e *Env) restoring(orig originals) []assignment {
	if _, setUp := e.lookup(originalsVar); !setUp {
		return nil
	}
	var list []assignment
	for _, name := range goVars() {
		if a := (assignment{name, orig[name]}); e.differs(a) {
			list = append(list, a)
		}
	}
	return append(list, assignment{name: originalsVar})
}

// differs reports whether the environment has another value, or none, for a.
func (e *Env) differs(a assignment) bool {
	value, ok := e.lookup(a.name)
	if a.value == nil {
		return ok
	}
	return !ok || value != *a.value
}

// printAssignments prints all of it or, on an error, nothing: eval runs whatever
// reaches stdout.
func (e *Env) printAssignments(write dialect, list []assignment) error {
	if err := checkValues(list); err != nil {
		return err
	}
	text, err := write(list)
	if err != nil {
		return fmt.Errorf("write the environment: %w", err)
	}
	_, err = io.WriteString(e.Stdout, text)
	return err
}
