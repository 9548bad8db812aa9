package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
)

// The parts of the time of a check: the keychain may hang, and GitHub is asked after.
const (
	keychainTime = 3 * time.Second
	askTime      = 4500 * time.Millisecond
	expirySoon   = 7 * 24 * time.Hour // a week has a working day in it
)

const ownVariable = "GOMIRROR_GITHUB_TOKEN"

// authChecks look at tokens and the keychain. The first of them reads the tokens and
// asks about them for all.
func authChecks(o Options) []Check {
	w := &wallet{o: &o}
	return []Check{
		{"A01", "auth", w.checkKeychain},
		{"A02", "auth", w.checkAccounts},
		{"A03", "auth", w.checkRights},
		{"A04", "auth", w.checkOwners},
		{"A05", "auth", w.checkShadow},
	}
}

// wallet is the user's tokens and what GitHub says about them.
type wallet struct {
	o *Options

	reading, asking, probing sync.Once

	held   []*heldToken // by reading
	err    error        // of the index, by reading
	probes []probe      // by probing
}

// heldToken is a token, or why it can't be read.
type heldToken struct {
	place   credential.Place
	source  string // "keychain", "file" or the variable
	secret  credential.Secret
	err     error // of the keychain or the file
	account github.Account
	denied  error // what GitHub said
}

// read reads all tokens at once, for a keychain that hangs does so for each.
func (w *wallet) read(ctx context.Context) []*heldToken {
	w.reading.Do(func() {
		// The store of the user has the variable stand for each of the others.
		store := credential.New(credential.Options{StateDir: w.o.StateDir, Keychain: w.o.Keychain, Limit: keychainTime, Now: w.o.Now})
		entries, err := store.Places()
		w.err = err
		var reads sync.WaitGroup // each ends with the limit of the keychain
		for _, e := range entries {
			h := &heldToken{place: e.Place, source: e.Storage}
			w.held = append(w.held, h)
			reads.Go(func() {
				token, err := store.Token(ctx, e.Host, e.Owner)
				h.secret, h.err = token.Secret, err
				if err == nil && token.Place != e.Place {
					h.err = fmt.Errorf("%w for %s", credential.ErrNone, e.Place)
				}
			})
		}
		reads.Wait()
		if text := w.o.Getenv(ownVariable); text != "" {
			h := &heldToken{place: credential.Place{Host: "github.com"}, source: ownVariable}
			env := credential.New(credential.Options{Environment: credential.NewSecret(text)})
			token, err := env.Token(ctx, "github.com", "")
			h.secret, h.err = token.Secret, err
			w.held = append(w.held, h)
		}
	})
	return w.held
}

// shadowed reports whether the variable stands in for a token.
func (w *wallet) shadowed(h *heldToken) bool {
	return h.place.Host == "github.com" && h.source != ownVariable && w.o.Getenv(ownVariable) != ""
}

// ask asks GitHub about all tokens at once.
func (w *wallet) ask(ctx context.Context) []*heldToken {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	held := w.read(ctx)
	w.asking.Do(func() {
		var asks sync.WaitGroup // each ends with its requests
		for _, h := range held {
			if h.err == nil && w.o.GitHub != nil {
				asks.Go(func() { h.account, h.denied = w.o.GitHub.Account(ctx, h.place.Host, h.secret) })
			}
		}
		asks.Wait()
	})
	return held
}

// checkKeychain says whether each token can be read.
func (w *wallet) checkKeychain(ctx context.Context) []Finding {
	held := w.read(ctx)
	if w.err != nil {
		return say(Fail, hintOf(w.err, "gomirror auth login"), "%v", w.err)
	}
	var findings []Finding
	var kinds []credential.Kind
	read := map[string]int{}
	for _, h := range held {
		fault, isKeychain := errors.AsType[*credential.KeychainError](h.err)
		switch {
		case h.err == nil:
			read[h.source]++
			continue
		case isKeychain && slices.Contains(kinds, fault.Kind) && fault.Kind != credential.Garbage:
			continue // a locked keychain is one fault, however many tokens are in it
		case isKeychain:
			kinds = append(kinds, fault.Kind)
		}
		status := Fail
		if w.shadowed(h) {
			status = Warn // nobody asks for it
		}
		fix := hintOf(h.err, login(h.place))
		if errors.Is(h.err, credential.ErrNone) {
			fix = login(h.place)
		}
		findings = append(findings, say(status, fix, "%v", h.err)...)
	}
	switch {
	case len(findings) > 0:
		return findings
	case read["keychain"] == 0 && read["file"] == 0:
		return say(Skipped, "", "no token is stored")
	case read["file"] > 0:
		return []Finding{{Status: OK, Text: "tokens can be read; one is in plain text, for whoever reads your files",
			Detail: []string{"gomirror auth login stores it in the keychain"}}}
	}
	return say(OK, "", "the keychain gives %s", counted(read["keychain"], "token"))
}

// counted writes "1 token" and "2 tokens".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// login is the command that stores a token for p.
func login(p credential.Place) string {
	command := "gomirror auth login"
	if p.Host != "github.com" {
		command += " --hostname " + p.Host
	}
	if p.Owner != "" {
		command += " --owner " + p.Owner
	}
	return command
}

// checkShadow compares variables with what is stored. gomirror reads its own alone, but
// gh, and git by way of gh, go by the other two.
func (w *wallet) checkShadow(ctx context.Context) []Finding {
	var stored []*heldToken
	for _, h := range w.read(ctx) {
		if h.source != ownVariable && h.place.Host == "github.com" {
			stored = append(stored, h)
		}
	}
	if len(stored) == 0 {
		return say(Skipped, "", "no token is stored that a variable could stand before")
	}
	if slices.ContainsFunc(stored, func(h *heldToken) bool { return h.err != nil }) {
		return say(Skipped, "", "the stored token can't be read, see A01")
	}
	var findings []Finding
	for _, name := range []string{ownVariable, "GITHUB_TOKEN", "GH_TOKEN"} {
		secret := credential.NewSecret(strings.TrimSpace(w.o.Getenv(name)))
		if secret.Empty() || slices.ContainsFunc(stored, func(h *heldToken) bool { return h.secret == secret }) {
			continue
		}
		text := name + " is another token than the one stored for " + stored[0].place.String() + ", and goes before it"
		if name != ownVariable {
			text = name + " is another token than the one stored for " + stored[0].place.String() + ": gh and git go by it, gomirror does not"
		}
		findings = append(findings, say(Warn, "unset "+name, "%s", text)...)
	}
	if len(findings) > 0 {
		return findings
	}
	return say(OK, "", "no variable stands before the stored token")
}
