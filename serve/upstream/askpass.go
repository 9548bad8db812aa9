package upstream

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"
)

// AskpassVariable names the environment variable that makes this program an askpass:
// it holds the handle of [Askpass].
const AskpassVariable = "GOMIRROR_ASKPASS"

const (
	// askpassPrompt is the longest question: "Password for 'URL': ". It must fit into
	// one datagram, which some systems limit to 2 KiB.
	askpassPrompt = 1 << 10

	// askpassLimit is how long the answer to one question may take; a keychain has
	// 5 s.
	askpassLimit = 10 * time.Second
)

// Askpass is what this program does when git runs it to learn a user name or a
// password: it passes the question on to the daemon, whose child git is, and prints
// the answer. handle is the value of [AskpassVariable].
func Askpass(handle, prompt string, stdout io.Writer) error {
	if len(prompt) > askpassPrompt {
		return errors.New("answer git: its question is too long")
	}
	answer, err := ask(handle, prompt)
	if err != nil {
		return fmt.Errorf("answer git: %w", err)
	}
	if answer == "" {
		return errors.New("answer git: nothing is known for that host")
	}
	_, err = fmt.Fprintln(stdout, answer)
	return err
}

// question is what an askpass has sent. reply closed without an answer is a "no".
type question struct {
	prompt string
	reply  io.WriteCloser
}

// teller answers the questions of one child, until it is closed. nil is for children
// that are not to ask.
type teller struct {
	direct  *Direct
	modPath string // that the child asks about
	inlet   *inlet
	cancel  func()
	done    chan struct{}

	mu       sync.Mutex
	told     map[string]credential // by host
	withheld error                 // why an answer that there was has not been given
}

// credential is what a host was told.
type credential struct{ user, password string }

// key names the credential for one host without giving it away.
func (c credential) key(host string) string {
	sum := sha256.Sum256([]byte(host + "\x00" + c.user + "\x00" + c.password))
	return "credential " + string(sum[:])
}

// redact takes what hosts were told out of a text: a host may repeat it.
func (t *teller) redact(text string) string {
	if t == nil {
		return text
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.told {
		basic := base64.StdEncoding.EncodeToString([]byte(c.user + ":" + c.password))
		text = strings.NewReplacer(c.password, "REDACTED", basic, "REDACTED", url.QueryEscape(c.password), "REDACTED").Replace(text)
	}
	return text
}

// account returns what hosts were told, and why they were not told more.
func (t *teller) account() (told map[string]credential, withheld error) {
	if t == nil {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.told, t.withheld
}

// openTeller starts to answer for a child that runs in box and asks about a module. ctx
// ends the answers.
func (d *Direct) openTeller(ctx context.Context, box, modPath string) (*teller, error) {
	in, err := newInlet(box)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &teller{direct: d, modPath: modPath, inlet: in, cancel: cancel, done: make(chan struct{}), told: make(map[string]credential)}
	go func() { // ends with close
		defer close(t.done)
		for {
			q, err := in.next()
			if err != nil {
				return
			}
			t.tell(ctx, q)
		}
	}()
	return t, nil
}

// close ends the answers. An askpass that outlives its child gets none.
func (t *teller) close() {
	if t == nil {
		return
	}
	t.cancel()
	t.inlet.close()
	<-t.done
}

// started is called when the child runs.
func (t *teller) started() {
	if t != nil {
		t.inlet.started()
	}
}

// environ is what makes git ask. Where it is known which repository git will ask for,
// git is told the user, which is no secret: that saves a process each time.
func (t *teller) environ(ctx context.Context, repo string) []string {
	env := []string{"GIT_ASKPASS=" + t.direct.opts.Self, AskpassVariable + "=" + t.inlet.handle()}
	u, err := url.Parse(repo)
	if err != nil || repo == "" {
		return env
	}
	ctx, cancel := context.WithTimeout(ctx, askpassLimit)
	defer cancel()
	user, _, ok := t.direct.opts.Credential(ctx, u)
	if !ok || !plainUser.MatchString(user) {
		return env
	}
	return append(env, "GIT_CONFIG_PARAMETERS='credential.https://"+u.Host+".username="+user+"'")
}

// foreign refuses what a stranger's import page names: with a pattern as wide as *, any
// host could have its modules made of what the user's token reads elsewhere.
func (t *teller) foreign(repo *url.URL) error {
	host, _, _ := strings.Cut(t.modPath, "/")
	if t.direct.opts.Vouched == nil || host == repo.Host || t.direct.opts.Vouched(host) {
		return nil
	}
	return &foreignError{t.modPath, host, repo.Host + repo.Path}
}

// foreignError is an import page that leads to what is not its host's.
type foreignError struct{ modPath, host, repo string }

func (e *foreignError) Error() string {
	return fmt.Sprintf("the import page of %s names %s: no pattern spells out %s, so it is shown no token", e.modPath, e.repo, e.host)
}

// Hint tells the one thing to do.
func (e *foreignError) Hint() string {
	return "if " + e.host + " is a host of yours: gomirror config set private PATTERNS," + e.host
}

func (t *teller) tell(ctx context.Context, q question) {
	defer q.reply.Close()
	what, repo, user, err := parsePrompt(q.prompt)
	if err != nil {
		// git's prompt may hold what a stranger's redirect says: log no more of it.
		t.direct.opts.Log.DebugContext(ctx, "askpass not answered", "err", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askpassLimit)
	defer cancel()
	var c credential
	var ok bool
	c.user, c.password, ok = t.direct.opts.Credential(ctx, repo)
	switch {
	case !ok, ctx.Err() != nil, !answerable(c.user), !answerable(c.password):
		return
	case what == askedPassword && user != "" && user != c.user:
		return
	}
	err = t.foreign(repo)
	if err == nil {
		err = t.direct.refusals.of(c.key(repo.Host), t.direct.opts.Now())
	}
	if err != nil {
		t.mu.Lock()
		t.withheld = err
		t.mu.Unlock()
		return
	}
	answer := c.user
	if what == askedPassword {
		answer = c.password
		t.mu.Lock()
		t.told[repo.Host] = c
		t.mu.Unlock()
	}
	_, _ = io.WriteString(q.reply, answer)
}
