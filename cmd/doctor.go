package cmd

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gomirror/gomirror/doctor"
)

// doctorOptions are the flags of doctor.
type doctorOptions struct {
	only, skip []string // IDs or sections
	strict     bool
	offline    bool
	suggest    bool
	last       bool
	bundle     string // file to write, or ""
}

// newDoctor declares doctor.
func newDoctor(env *Env) *cobra.Command {
	var opts doctorOptions
	c := &cobra.Command{
		Use:   "doctor [MODULE[@VERSION] | -]",
		Short: "Find out why a pull failed, and the command that mends it",
		Long: `Look at all that a pull through gomirror needs, and name the command that mends what is wrong.

Of a MODULE, as it was pasted from wherever, retell the pull step by step and say why it
fails. With - read what go printed: go build 2>&1 | gomirror doctor -

It starts, fetches, writes and repairs nothing. The exit code is 0 if nothing failed, 4 if
only tokens did, else 1.`,
		Args: cobra.ArbitraryArgs, // what is pasted may have spaces
		RunE: func(c *cobra.Command, args []string) error {
			if err := opts.check(args); err != nil {
				return err
			}
			switch {
			case opts.last || len(args) > 0:
				return runDoctorPull(c.Context(), env, opts, args)
			case opts.suggest:
				return runSuggest(c.Context(), env, opts)
			}
			return runDoctor(c.Context(), env, opts)
		},
	}
	flags := c.Flags()
	flags.StringSliceVar(&opts.only, "only", nil, "run only these `checks`, such as E04 or network")
	flags.StringSliceVar(&opts.skip, "skip", nil, "leave these `checks` out")
	flags.BoolVar(&opts.strict, "strict", false, "a warning counts as a failure")
	flags.BoolVar(&opts.offline, "offline", false, "ask nothing beyond this machine")
	flags.BoolVar(&opts.suggest, "suggest", false, "measure the upstreams and print the order to ask them in")
	flags.BoolVar(&opts.last, "last", false, "explain the last pulls that failed")
	flags.StringVar(&opts.bundle, "bundle", "", "also write what was found to a zip `file`, without secrets and private names")
	for _, name := range []string{"only", "skip"} {
		// It can only fail for a flag that is not there.
		_ = c.RegisterFlagCompletionFunc(name, completeChecks)
	}
	return c
}

// check refuses flags that would be dropped without a word.
func (o doctorOptions) check(args []string) error {
	narrowed := len(o.only)+len(o.skip) > 0 || o.bundle != ""
	switch {
	case o.last && (o.suggest || narrowed || len(args) > 0):
		return usagef("gomirror doctor --last", "--last takes no module, and of the other flags --strict alone")
	case o.suggest && (narrowed || o.strict || len(args) > 0):
		return usagef("gomirror doctor --suggest", "--suggest takes no module and none of the other flags of doctor")
	case narrowed && len(args) > 0:
		return usagef("gomirror doctor", "--only, --skip and --bundle are of a doctor that looks at everything")
	}
	return nil
}

// runDoctor shows each result as soon as those before it are there.
func runDoctor(ctx context.Context, env *Env, opts doctorOptions) error {
	if err := checkBundle(opts.bundle); err != nil {
		return err
	}
	look, err := env.lookAround(ctx, opts.offline)
	if err != nil {
		return err
	}
	checks, err := chosen(doctor.Checks(look), opts)
	if err != nil {
		return err
	}
	if err := hardenProcess(); err != nil {
		env.note("crash dumps may tell secrets: %v", err)
	}
	start := env.Now()
	sheet := &doctorSheet{env: env, p: env.palette(), words: !env.showsUTF8()}
	show := sheet.show
	if env.json {
		show = func(doctor.Result) {}
	}
	results := doctor.Run(ctx, checks, show)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	doc := newDoctorDoc(results, summarize(results, env.Now().Sub(start)))
	if !env.json {
		if err := sheet.end(doc.Summary); err != nil {
			return err
		}
	}
	if opts.bundle != "" {
		if doc.Bundle, err = newBundle(ctx, env, look, doc, opts.bundle); err != nil {
			return err
		}
		if !env.json {
			if err := doc.Bundle.print(env); err != nil {
				return err
			}
		}
		if err := doc.Bundle.write(); err != nil {
			return err
		}
	}
	if env.json {
		if err := env.printJSON(doc); err != nil {
			return err
		}
	}
	return doc.Summary.verdict(opts.strict)
}

// chosen returns the checks that the user wants.
func chosen(checks []doctor.Check, opts doctorOptions) ([]doctor.Check, error) {
	for flag, names := range map[string][]string{"--only": opts.only, "--skip": opts.skip} {
		for _, name := range names {
			if !slices.ContainsFunc(checks, func(c doctor.Check) bool { return isNamed(c, name) }) {
				known := checkNames(checks)
				near := nearest(strings.ToUpper(name), known)
				if near == "" {
					near = known[0]
				}
				return nil, usagef("gomirror doctor "+flag+" "+near, "unknown check %q", name)
			}
		}
	}
	some := slices.DeleteFunc(slices.Clone(checks), func(c doctor.Check) bool {
		named := func(name string) bool { return isNamed(c, name) }
		return len(opts.only) > 0 && !slices.ContainsFunc(opts.only, named) || slices.ContainsFunc(opts.skip, named)
	})
	if len(some) == 0 {
		return nil, usagef("gomirror doctor", "--only and --skip leave no check")
	}
	return some, nil
}

// isNamed takes e04 for E04: nothing else is written like it.
func isNamed(c doctor.Check, name string) bool {
	return strings.EqualFold(c.ID, name) || strings.EqualFold(c.Section, name)
}

// checkNames returns the IDs in their order, then the sections.
func checkNames(checks []doctor.Check) []string {
	var ids, sections []string
	for _, c := range checks {
		ids = append(ids, c.ID)
		if !slices.Contains(sections, c.Section) {
			sections = append(sections, c.Section)
		}
	}
	return slices.Concat(ids, sections)
}

// completeChecks completes the last of a list.
func completeChecks(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	before := toComplete[:strings.LastIndexByte(toComplete, ',')+1]
	names := checkNames(doctor.Checks(doctor.Options{}))
	for i, name := range names {
		names[i] = before + name
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
