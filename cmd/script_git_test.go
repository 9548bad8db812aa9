package cmd

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gomirror/gomirror/serve/githosttest"
)

// gitStage is the git hosts of one script. They start with the first command that
// needs them.
type gitStage struct {
	t     testing.TB
	host  *githosttest.Host
	repos map[string]*githosttest.Repo
}

type gitStageKey struct{}

func setUpGit(e *testscript.Env) {
	e.Values[gitStageKey{}] = &gitStage{t: e.T().(testing.TB), repos: make(map[string]*githosttest.Repo)}
}

// gitCommands returns the commands that steer git hosts from a script.
//
//	git-start                      sets $GIT_CA, and $HTTPS_PROXY and $SSL_CERT_FILE, by
//	                               which go, git and gomirror reach the hosts and nothing else
//	git-repo PATH DIR [TAG…]       a repository "github.com/acme/mod" of DIR's files
//	git-commit PATH DIR [TAG…]     DIR's files over what is there; a file without
//	                               content is taken away
//	git-run PATH ARG…              git in that repository
//	git-rename OLD NEW             as renamed repositories redirect
//	git-private PREFIX…            strangers don't see what is below
//	git-enterprise HOST            a GitHub with its API at /api/v3
//	git-vanity PREFIX URL          import pages that name the repository at URL
//	git-token TOKEN LOGIN [KEY=VALUE…]
//	    sees=PREFIX,…  scopes=S,…  expires=DURATION  sso=OWNER:URL  limited=DURATION
//	    bad=true  contents=false  host=HOST
//	git-device TOKEN|deny [N]      how the next device flow ends, after N polls
//	git-answer PREFIX CODE         requests below get that status; git-mend ends all
//	git-requests                   prints and forgets: METHOD HOST PATH[?QUERY] TOKEN|-
func gitCommands() map[string]func(*testscript.TestScript, bool, []string) {
	commands := map[string]func(*testscript.TestScript, bool, []string){}
	for name, c := range map[string]struct {
		atLeast, atMost int // arguments
		run             func(ts *testscript.TestScript, s *gitStage, args []string)
	}{
		"git-start":      {0, 0, startGit},
		"git-repo":       {2, 99, makeRepo},
		"git-commit":     {2, 99, commitFiles},
		"git-run":        {2, 99, runGit},
		"git-rename":     {2, 2, func(_ *testscript.TestScript, s *gitStage, args []string) { s.host.Rename(args[0], args[1]) }},
		"git-private":    {1, 99, hide},
		"git-enterprise": {1, 1, func(_ *testscript.TestScript, s *gitStage, args []string) { s.host.Enterprise(args[0]) }},
		"git-vanity":     {2, 2, func(_ *testscript.TestScript, s *gitStage, args []string) { s.host.Vanity(args[0], args[1]) }},
		"git-token":      {2, 99, addAccount},
		"git-device":     {1, 2, setDevice},
		"git-answer":     {2, 2, answerGit},
		"git-mend":       {0, 0, func(_ *testscript.TestScript, s *gitStage, _ []string) { s.host.Intercept(nil) }},
		"git-requests":   {0, 0, printGit},
	} {
		commands[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			s := ts.Value(gitStageKey{}).(*gitStage)
			switch {
			case neg || len(args) < c.atLeast || len(args) > c.atMost:
				ts.Fatalf("%s: %d arguments are too few or too many, or it is negated", name, len(args))
			case s.host == nil && name != "git-start":
				ts.Fatalf("%s comes before git-start", name)
			}
			c.run(ts, s, args)
		}
	}
	return commands
}

func startGit(ts *testscript.TestScript, s *gitStage, _ []string) {
	s.host = githosttest.New(s.t)
	ts.Setenv("GIT_CA", s.host.CAFile)
	ts.Setenv("SSL_CERT_FILE", s.host.CAFile)
	ts.Setenv("GIT_SSL_CAINFO", s.host.CAFile)
	ts.Setenv("HTTPS_PROXY", s.host.Proxy(s.t))
	ts.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	ts.Setenv("GIT_TERMINAL_PROMPT", "0")
}

// treeOf reads the files below a folder of the script, by their names in it.
func treeOf(ts *testscript.TestScript, dir string) map[string]string {
	root, files := ts.MkAbs(dir), make(map[string]string)
	ts.Check(filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(root, name)
		files[filepath.ToSlash(rest)] = string(content)
		return err
	}))
	return files
}

func makeRepo(ts *testscript.TestScript, s *gitStage, args []string) {
	s.repos[args[0]] = s.host.Repo(s.t, args[0], treeOf(ts, args[1]), args[2:]...)
}

func (s *gitStage) repo(ts *testscript.TestScript, path string) *githosttest.Repo {
	if s.repos[path] == nil {
		ts.Fatalf("no repository %s: make it with git-repo first", path)
	}
	return s.repos[path]
}

func commitFiles(ts *testscript.TestScript, s *gitStage, args []string) {
	hash := s.repo(ts, args[0]).Commit(s.t, treeOf(ts, args[1]), args[2:]...)
	ts.Setenv("COMMIT", hash)
}

func runGit(ts *testscript.TestScript, s *gitStage, args []string) {
	fmt.Fprint(ts.Stdout(), s.repo(ts, args[0]).Git(s.t, args[1:]...))
}

func hide(_ *testscript.TestScript, s *gitStage, args []string) {
	for _, prefix := range args {
		s.host.Private(prefix)
	}
}

func addAccount(ts *testscript.TestScript, s *gitStage, args []string) {
	a := githosttest.Account{Login: args[1]}
	for _, arg := range args[2:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "sees":
			a.Sees = strings.Split(value, ",")
		case "scopes":
			a.Scopes = strings.Split(value, ",")
		case "host":
			a.Host = value
		case "bad":
			a.Bad = value == "true"
		case "contents":
			a.NoContents = value == "false"
		case "sso":
			owner, url, _ := strings.Cut(value, ":")
			a.SSO = map[string]string{owner: url}
		case "expires":
			a.Expires = fromNow(ts, value)
		case "limited":
			a.RateReset = fromNow(ts, value)
		default:
			ts.Fatalf("git-token knows no %q", key)
		}
	}
	s.host.Account(args[0], a)
}

// fromNow is a time that far away; a negative one is past.
func fromNow(ts *testscript.TestScript, text string) time.Time {
	d, err := time.ParseDuration(text)
	ts.Check(err)
	return time.Now().Add(d)
}

func setDevice(ts *testscript.TestScript, s *gitStage, args []string) {
	token, pending := args[0], 0
	if token == "deny" {
		token = ""
	}
	if len(args) == 2 {
		var err error
		pending, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	s.host.Device(token, pending)
}

// answerGit replaces every answer below a prefix, "github.com/acme", by a status.
func answerGit(ts *testscript.TestScript, s *gitStage, args []string) {
	code, err := strconv.Atoi(args[1])
	ts.Check(err)
	s.host.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.Host+r.URL.Path, args[0]) {
			return false
		}
		http.Error(w, http.StatusText(code), code)
		return true
	})
}

// printGit prints the requests since the last time. An empty list is an empty line,
// for a command that prints nothing leaves what the one before it has printed.
func printGit(ts *testscript.TestScript, s *gitStage, _ []string) {
	seen := s.host.Requests()
	lines := make([]string, 0, len(seen))
	for _, r := range seen {
		line := r.Method + " " + r.Host + " " + r.Path
		if r.Query != "" {
			line += "?" + r.Query
		}
		token := r.Token()
		if token == "" {
			token = "-"
		}
		lines = append(lines, line+" "+token)
	}
	fmt.Fprintln(ts.Stdout(), strings.Join(lines, "\n"))
}
