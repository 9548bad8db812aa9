package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
)

// choiceInput is all that decides which patterns a login adds.
type choiceInput struct {
	place   credential.Place
	account github.Account
	owners  []github.Owner
	opts    loginOptions
	chosen  bool // --private was given
}

// choice is what the user, or their flags, said.
type choice struct {
	added, left []string // patterns
	note        string   // what to do about those left
}

// candidate is a pattern that a login proposes.
type candidate struct {
	pattern  string
	about    string
	proposed bool // seen to have something private; a mere membership is not
}

// candidates returns the patterns that may be added, in GitHub's order, without those
// that present covers already.
func (in choiceInput) candidates(present []string) []candidate {
	var list []candidate
	folded := patterns(strings.ToLower(strings.Join(present, ","))) // as GitHub, and our routing, compare names
	add := func(owner, about string, proposed bool) {
		pattern := in.place.Host + "/" + owner
		known := slices.ContainsFunc(list, func(c candidate) bool { return strings.EqualFold(c.pattern, pattern) })
		if !known && !covered(strings.ToLower(pattern), folded) {
			list = append(list, candidate{pattern, about, proposed})
		}
	}
	if in.place.Owner != "" {
		about := "as --owner says"
		if in.nothingSeen() {
			about += ", no private repository seen"
		}
		add(in.place.Owner, about, true)
		return list
	}
	for _, o := range in.owners {
		if o.Private > 0 {
			add(o.Name, repositories(o.Private), true)
		}
	}
	for _, org := range slices.Sorted(maps.Keys(in.account.SSO)) {
		if ownerForm.MatchString(org) {
			add(org, "wants single sign-on first", true)
		}
	}
	for _, o := range in.owners {
		if o.Private == 0 {
			add(o.Name, "no private repository seen", false)
		}
	}
	return list
}

// nothingSeen reports whether the token is for one owner and sees nothing private of
// theirs yet.
func (in choiceInput) nothingSeen() bool {
	return in.place.Owner != "" && !slices.ContainsFunc(in.owners, func(o github.Owner) bool {
		return o.Private > 0 && strings.EqualFold(o.Name, in.place.Owner)
	})
}

func repositories(n int) string {
	if n == 1 {
		return "1 private repository"
	}
	return fmt.Sprintf("%d private repositories", n)
}

// choosePrivate decides which patterns to add: by a flag, by asking, or not at all and
// then it says what to run.
func choosePrivate(ctx context.Context, env *Env, s *settings, in choiceInput) (choice, error) {
	present, err := filePrivate(s)
	if err != nil {
		return choice{}, err
	}
	list := in.candidates(present)
	var picked []string
	switch {
	case in.chosen:
		if picked, err = parseChoice(strings.Join(in.opts.private, ","), list, in.place.Host); err != nil {
			hint := "--private all"
			if invalid, ok := errors.AsType[*patternError](err); ok && invalid.meant != "" {
				hint = "--private '" + meantList(strings.Join(in.opts.private, ",")) + "'"
			}
			return choice{}, usagef(hint, "read --private: %w", err)
		}
	case len(list) == 0:
	case in.opts.yes:
		picked = proposed(list)
	case env.canAsk():
		if picked, err = askPrivate(ctx, env, list, in.place.Host); err != nil {
			return choice{}, err
		}
	}
	c := choice{added: unite(picked)}
	for _, pattern := range proposed(list) {
		if !slices.Contains(c.added, pattern) {
			c.left = append(c.left, pattern)
		}
	}
	all := unite(present, c.added)
	switch {
	case len(c.left) > 0:
		c.note = fmt.Sprintf("not private so far: %s; to change that: gomirror config set private '%s'", strings.Join(c.left, ", "), strings.Join(unite(all, c.left), ","))
	case in.nothingSeen():
		c.note = "the token sees no private repository of " + in.place.Owner + " so far"
	case len(all) == 0:
		c.note = "the token sees nothing private; if something is: gomirror config set private " + in.place.Host + "/YOURORG"
	}
	return c, nil
}

// proposed are the patterns that --yes and a plain Enter take.
func proposed(list []candidate) []string {
	var patterns []string
	for _, c := range list {
		if c.proposed {
			patterns = append(patterns, c.pattern)
		}
	}
	return patterns
}

// askTries is how often a wrong answer may be mended.
const askTries = 3

// askPrivate shows the candidates and reads which of them are private.
func askPrivate(ctx context.Context, env *Env, list []candidate, host string) ([]string, error) {
	width := 0
	for _, c := range list {
		width = max(width, len(c.pattern))
	}
	fmt.Fprintln(env.Stderr, "Which modules are private? They are asked of", host, "and of nobody else.")
	var usual []string
	for i, c := range list {
		fmt.Fprintf(env.Stderr, "  %d  %-*s  %s\n", i+1, width, c.pattern, c.about)
		if c.proposed {
			usual = append(usual, strconv.Itoa(i+1))
		}
	}
	if len(usual) == 0 {
		usual = []string{"none"}
	}
	for try := 1; ; try++ {
		answer, err := env.ask(ctx, fmt.Sprintf("Numbers, patterns, all or none [%s]: ", strings.Join(usual, ",")), false)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if err != nil {
			return nil, failf("gomirror auth login --yes", "log in: no answer; nothing was stored")
		}
		if strings.TrimSpace(answer) == "" {
			answer = strings.Join(usual, ",")
		}
		picked, err := parseChoice(answer, list, host)
		if err == nil {
			return picked, nil
		}
		if try == askTries {
			return nil, usagef("gomirror auth login --yes", "log in: %w; nothing was stored", err)
		}
		fmt.Fprintf(env.Stderr, "%v\n", err)
	}
}

// parseChoice reads numbers of candidates, names of owners and whole patterns,
// separated by commas or spaces.
func parseChoice(text string, list []candidate, host string) ([]string, error) {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	var patterns []string
	for _, word := range words {
		number, err := strconv.Atoi(word)
		switch {
		case word == "none" && len(words) == 1:
			return nil, nil
		case word == "all" && len(words) == 1:
			for _, c := range list {
				patterns = append(patterns, c.pattern)
			}
			return patterns, nil
		case err == nil && number >= 1 && number <= len(list):
			word = list[number-1].pattern
		case err == nil:
			return nil, fmt.Errorf("there is no number %d", number)
		case word == "all" || word == "none":
			return nil, fmt.Errorf("%q stands alone", word)
		case ownerForm.MatchString(word), repoForm.MatchString(word):
			word = host + "/" + strings.TrimSuffix(word, ".git")
		}
		if err := checkPattern(word); err != nil {
			return nil, err
		}
		patterns = append(patterns, word)
	}
	return patterns, nil
}

// filePrivate returns the patterns in config.toml: what a variable says counts in this
// shell only.
func filePrivate(s *settings) ([]string, error) {
	k, err := findKey("private", "")
	if err != nil {
		return nil, err
	}
	file, err := readConfigFile(s.file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && file[k.name] == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := fileValue(k, file[k.name])
	return patterns(text), err
}

// addPrivate writes config.toml, if there is something to add.
func addPrivate(ctx context.Context, env *Env, s *settings, added []string) error {
	present, err := filePrivate(s)
	if err != nil || len(added) == 0 {
		return err
	}
	k, err := findKey("private", "")
	if err != nil {
		return err
	}
	return changeConfig(ctx, env, s.file, k, k.literal(&settings{private: unite(present, added)}))
}
