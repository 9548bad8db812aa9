package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gomirror/gomirror/serve"
	"github.com/gomirror/gomirror/serve/daemon"
)

// newConfig declares config. Only set and unset write, and only config.toml; list
// and get show what counts in the end, wherever it comes from.
func newConfig(env *Env) *cobra.Command {
	var showOrigin bool
	list := &cobra.Command{
		Use:   "list",
		Short: "Print every setting",
		Args:  arguments(""),
		RunE:  func(*cobra.Command, []string) error { return runConfigList(env, showOrigin) },
	}
	list.Flags().BoolVar(&showOrigin, "show-origin", false, "tell where each value comes from")
	return group(&cobra.Command{
		Use:   "config",
		Short: "Read and change the settings",
	}, list, &cobra.Command{
		Use:   "get KEY",
		Short: "Print one setting",
		Args:  arguments("KEY"),

		ValidArgsFunction: completeKey,
		RunE:              func(_ *cobra.Command, args []string) error { return runConfigGet(env, args[0]) },
	}, &cobra.Command{
		Use:   "set KEY VALUE",
		Short: "Write one setting to config.toml",
		Long:  "Write one setting to config.toml. The elements of a list are separated by commas.",
		Args:  arguments("KEY VALUE"),

		ValidArgsFunction: completeKey,
		RunE:              func(c *cobra.Command, args []string) error { return runConfigSet(c.Context(), env, args[0], args[1]) },
	}, &cobra.Command{
		Use:   "unset KEY",
		Short: "Remove one setting from config.toml",
		Args:  arguments("KEY"),

		ValidArgsFunction: completeKey,
		RunE:              func(c *cobra.Command, args []string) error { return runConfigUnset(c.Context(), env, args[0]) },
	}, &cobra.Command{
		Use:   "path",
		Short: "Print the path of config.toml",
		Args:  arguments(""),
		RunE:  func(*cobra.Command, []string) error { return runConfigPath(env) },
	})
}

// completeKey offers the names of the settings to the shell's completion.
func completeKey(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []cobra.Completion
	if len(args) == 0 {
		for _, k := range settingKeys() {
			names = append(names, cobra.CompletionWithDesc(k.name, strings.ReplaceAll(k.usage, "`", "")))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// settingDoc is one setting in JSON.
type settingDoc struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`
	Origin string `json:"origin"`
}

// runConfigList shows unset values as "-", so that every line has all its columns.
func runConfigList(env *Env, showOrigin bool) error {
	s, err := loadSettings(env, nil)
	if err != nil {
		return err
	}
	if env.json {
		doc := struct {
			SchemaVersion int          `json:"schema_version"`
			File          string       `json:"file"`
			Settings      []settingDoc `json:"settings"`
		}{SchemaVersion: 1, File: s.file}
		for _, k := range settingKeys() {
			doc.Settings = append(doc.Settings, settingDoc{k.name, redactSetting(k.name, k.value(s)), s.origins[k.name]})
		}
		return env.printJSON(doc)
	}
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	for _, k := range settingKeys() {
		text := fmt.Sprint(redactSetting(k.name, k.text(s)))
		if text == "" {
			text = "-"
		}
		if showOrigin {
			text += "\t" + s.origins[k.name]
		}
		fmt.Fprintf(w, "%s\t%s\n", k.name, text)
	}
	return w.Flush()
}

// redactSetting hides the secrets in an upstream, a password or the path of another
// gomirror: a list of settings gets pasted into
// bug reports. `config get` shows the value as it is.
func redactSetting(name string, value any) any {
	text, ok := value.(string)
	switch {
	case !ok:
		return value
	case name == "upstream" && strings.Contains(text, "@"): // a folder may have an @ too
		return redactList(text)
	}
	return serve.Redact(text)
}

// runConfigGet prints the value alone, as config set takes it, for use in scripts.
func runConfigGet(env *Env, name string) error {
	k, err := findKey(name, "gomirror config get KEY")
	if err != nil {
		return err
	}
	s, err := loadSettings(env, nil)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(struct {
			SchemaVersion int `json:"schema_version"`
			settingDoc
		}{1, settingDoc{k.name, k.value(s), s.origins[k.name]}})
	}
	_, err = fmt.Fprintln(env.Stdout, k.text(s))
	return err
}

// runConfigSet checks the value by the rules that reading it follows. It starts from
// the defaults, for a file that can't be read otherwise could never be mended by it.
func runConfigSet(ctx context.Context, env *Env, name, value string) error {
	k, err := findKey(name, "gomirror config set KEY "+value)
	if err != nil {
		return err
	}
	s, err := defaultSettings()
	if err != nil {
		return err
	}
	wd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("find the current folder: %w", err)
	}
	if err := k.parse(s, value, wd); err != nil {
		hint := k.setting()
		if invalid, ok := errors.AsType[*patternError](err); ok && invalid.meant != "" {
			hint = "gomirror config set " + name + " '" + meantList(value) + "'"
		}
		return usagef(hint, "set %s: %w", name, err)
	}
	return changeConfig(ctx, env, s.file, k, k.literal(s))
}

// runConfigUnset removes the line, so that the default or a variable counts again.
func runConfigUnset(ctx context.Context, env *Env, name string) error {
	k, err := findKey(name, "gomirror config unset KEY")
	if err != nil {
		return err
	}
	s, err := defaultSettings()
	if err != nil {
		return err
	}
	return changeConfig(ctx, env, s.file, k, "")
}

// changeConfig edits the file. It accepts unknown keys in there: they stop every
// other command, and must not stop their own mending.
func changeConfig(ctx context.Context, env *Env, file string, k settingKey, literal string) error {
	text, err := readConfigText(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	edited, err := editConfig(file, string(text), k.name, literal)
	if err != nil {
		return err
	}
	if edited != string(text) {
		if err := writeConfig(file, edited); err != nil {
			return err
		}
	}
	if env.Getenv(k.variable()) != "" {
		env.note("%s is set too and goes before %s", k.variable(), file)
	}
	s, err := loadSettings(env, nil)
	if err != nil { // which the next command will tell
		s, err = defaultSettings()
	}
	switch {
	case err != nil || !daemon.Held(s.stateDir):
	case k.name == "private": // no name may leak for want of a restart
		was, _ := privateIn(file, string(text)) // editConfig has parsed both
		now, _ := privateIn(file, edited)
		tellPrivate(ctx, env, s, was, now)
	default:
		env.note("%s%s", staleSettings, env.startAnew(ctx, s, k.name))
	}
	return nil
}

// runConfigPath prints where the file is or would be, also if it can't be read.
func runConfigPath(env *Env) error {
	s, err := defaultSettings()
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(struct {
			SchemaVersion int    `json:"schema_version"`
			Path          string `json:"path"`
		}{1, s.file})
	}
	_, err = fmt.Fprintln(env.Stdout, s.file)
	return err
}
