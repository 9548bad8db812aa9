package proxytest

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for what must happen: long enough for a
// machine that runs several race-instrumented tests at once.
const patience = 60 * time.Second

// defaultName is the upstream that a command without -as means, and the variable
// that holds its URL.
const defaultName = "UPSTREAM"

// stage is what the commands of one script share.
type stage struct {
	dir       string
	db        *Database
	upstreams map[string]*Upstream
	counts    map[string]Counts
}

type stageKey struct{}

// Setup gives a script its upstreams. What the script leaves running, upstreams and
// processes, ends with it. Whoever calls it has set the environment already.
func Setup(env *testscript.Env) error {
	s := &stage{dir: env.WorkDir, upstreams: make(map[string]*Upstream), counts: make(map[string]Counts)}
	env.Values[stageKey{}] = s
	// Under -race every program waits a second when it ends, and scripts run hundreds.
	env.Setenv("GORACE", "atexit_sleep_ms=0")
	env.Defer(func() {
		for _, u := range s.upstreams {
			u.close()
		}
		reap(env.WorkDir)
	})
	return nil
}

// Cmds returns the commands that steer upstreams from a script. Each takes -as NAME
// to mean another upstream than the first, whose URL is in $NAME.
//
//	upstream-start [-as NAME] [-tls] [-empty] [-dir DIR] [-sumdb NAME]
//	    sets $UPSTREAM, $UPSTREAM_ADDR, $UPSTREAM_CA and $SUMDB_KEY; serves the
//	    fixtures and what DIR/MODULE@VERSION/ holds
//	stop-upstream, restart-upstream
//	upstream-add MODULE@VERSION DIR
//	upstream-branch MODULE REF VERSION
//	upstream-toolchain VERSION    a Go release whose go command only says its name
//	upstream-big MODULE@VERSION BYTES    a module whose zip has about as many
//	upstream-project DIR N [SCALE]    N modules with zips up to SCALE times 144 KiB, and in
//	                              DIR a project that needs them all
//	upstream-link RTT [BYTES/S]   how far away it is from now on; see Link
//	upstream-manner [-validators V] [-no-ranges] [-stored] [-reversed]    see Manner
//	upstream-fault [-times N] [-chance P [-seed N]] [-over BYTES] [-retry-after S]
//	    MATCH KIND [ARG…]         see Fault; upstream-mend ends all
//	black-hole NAME               sets $NAME to a URL where no connection is accepted
//	upstream-log [-forget]        prints what was asked for
//	upstream-count [-forget] [-save NAME] [FIGURE <=|>= [N*]NAME|N]
//	    prints the figures: see Counts. FIGURE is requests, ranges, inflight, conns,
//	    roundtrips, bytes or bytes.KIND; NAME holds what -save has put there
//	upstream-await SUFFIX         waits until a path that ends so was asked for
//	sumdb-serve                   sets $SUMDB_URL; sumdb-flip MODULE@VERSION
//	use-gomirror [-fallback]      as eval "$(gomirror env)", by default without what
//	                              follows gomirror's own address in GOPROXY
//	[!] within [MIN..]MAX PROGRAM ARG…    exec, and it takes as long as that
//	[!] netless PROGRAM ARG…      exec without any network but a loopback of its own
//	[!] own-mounts PROGRAM ARG…   exec where mounts are seen by nobody else
func Cmds() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	cmds := map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"use-gomirror": useGomirror,
		"within":       within,
		"netless":      netless,
		"own-mounts":   ownMounts,
	}
	for name, run := range map[string]func(*call) error{
		"upstream-start":     startUpstream,
		"stop-upstream":      func(c *call) error { c.upstream().Stop(); return nil },
		"restart-upstream":   func(c *call) error { return c.upstream().Restart() },
		"upstream-add":       addModule,
		"upstream-branch":    addBranch,
		"upstream-toolchain": addToolchain,
		"upstream-fault":     addFault,
		"upstream-mend":      func(c *call) error { c.upstream().Mend(); return nil },
		"upstream-log":       printLog,
		"upstream-await":     awaitRequest,
		"upstream-big":       addBig,
		"upstream-project":   addProject,
		"upstream-link":      setLink,
		"upstream-manner":    func(c *call) error { c.want(0); c.upstream().SetManner(c.manner); return nil },
		"black-hole":         openBlackHole,
		"upstream-count":     count,
		"sumdb-serve":        serveDatabase,
		"sumdb-flip":         flipDatabase,
	} {
		cmds[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("%s can't be negated", name)
			}
			c := newCall(ts, name)
			ts.Check(c.flags.Parse(args))
			c.args = c.flags.Args()
			ts.Check(run(c))
		}
	}
	return cmds
}

// call is one command of a script with its flags.
type call struct {
	*stage
	ts    *testscript.TestScript
	args  []string
	flags *flag.FlagSet

	as, dir, sumdb, save string
	tls, empty, forget   bool
	fault                Fault
	manner               Manner
}

func newCall(ts *testscript.TestScript, name string) *call {
	c := &call{stage: ts.Value(stageKey{}).(*stage), ts: ts, flags: flag.NewFlagSet(name, flag.ContinueOnError)}
	c.flags.SetOutput(io.Discard)
	c.flags.StringVar(&c.as, "as", defaultName, "")
	switch name {
	case "upstream-start":
		c.flags.StringVar(&c.dir, "dir", "mod", "")
		c.flags.StringVar(&c.sumdb, "sumdb", DatabaseName, "")
		c.flags.BoolVar(&c.tls, "tls", false, "")
		c.flags.BoolVar(&c.empty, "empty", false, "")
	case "upstream-fault":
		c.flags.IntVar(&c.fault.Times, "times", 0, "")
		c.flags.Float64Var(&c.fault.Chance, "chance", 0, "")
		c.flags.Uint64Var(&c.fault.Seed, "seed", 0, "")
		c.flags.IntVar(&c.fault.Over, "over", 0, "")
		c.flags.StringVar(&c.fault.RetryAfter, "retry-after", "", "")
	case "upstream-manner":
		c.flags.StringVar((*string)(&c.manner.Validators), "validators", "", "")
		c.flags.BoolVar(&c.manner.NoRanges, "no-ranges", false, "")
		c.flags.BoolVar(&c.manner.Stored, "stored", false, "")
		c.flags.BoolVar(&c.manner.Reversed, "reversed", false, "")
	case "upstream-log", "upstream-count":
		c.flags.BoolVar(&c.forget, "forget", false, "")
		c.flags.StringVar(&c.save, "save", "", "")
	}
	return c
}

func (c *call) upstream() *Upstream {
	u := c.upstreams[c.as]
	if u == nil {
		c.ts.Fatalf("no upstream %s: start it first", c.as)
	}
	return u
}

// want ends the script unless there are n arguments.
func (c *call) want(n int) {
	if len(c.args) != n {
		c.ts.Fatalf("%s wants %d arguments, not %q", c.flags.Name(), n, c.args)
	}
}

func startUpstream(c *call) error {
	c.want(0)
	if c.db == nil {
		db, err := newDatabase(c.sumdb)
		if err != nil {
			return err
		}
		c.db = db
	}
	u, err := Start(Options{TLS: c.tls, Dir: c.stage.dir, Database: c.db, Fixtures: !c.empty})
	if err != nil {
		return err
	}
	c.upstreams[c.as] = u
	files, err := filesIn(c.ts.MkAbs(c.dir))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, m := range group(files) {
		if err := u.add(m); err != nil {
			return err
		}
	}
	c.ts.Setenv(c.as, u.URL)
	c.ts.Setenv(c.as+"_ADDR", u.addr)
	c.ts.Setenv(c.as+"_CA", u.CAFile)
	c.ts.Setenv("SUMDB_KEY", u.SumDBKey())
	return nil
}

func addModule(c *call) error {
	c.want(2)
	modPath, version, _ := strings.Cut(c.args[0], "@")
	files, err := filesIn(c.ts.MkAbs(c.args[1]))
	if err != nil {
		return err
	}
	return c.upstream().add(Module{modPath, version, files})
}

func addBranch(c *call) error {
	c.want(3)
	c.upstream().Branch(c.args[0], c.args[1], c.args[2])
	return nil
}

// addToolchain adds a Go release for this machine. The go command runs its bin/go
// and believes what that says, so a script that prints a line is a release.
func addToolchain(c *call) error {
	c.want(1)
	version := c.args[0]
	return c.upstream().add(Module{
		Path:    "golang.org/toolchain",
		Version: fmt.Sprintf("v0.0.1-%s.%s-%s", version, runtime.GOOS, runtime.GOARCH),
		Files: map[string]string{
			"VERSION": version + "\n",
			"bin/go":  "#!/bin/sh\necho this is " + version + ", asked: $*\n",
			// The go command wants to make the tools executable, so there must be some.
			"bin/gofmt":       "#!/bin/sh\n",
			"pkg/tool/README": "none\n",
			"lib/README":      "none\n",
		},
	})
}

func addFault(c *call) error {
	if len(c.args) < 2 {
		c.want(2)
	}
	c.fault.Kind, c.fault.Arg = FaultKind(c.args[1]), strings.Join(c.args[2:], " ")
	c.upstream().Fault(c.args[0], c.fault)
	return nil
}

func printLog(c *call) error {
	c.want(0)
	// A command that prints nothing leaves what the one before it has printed: an empty
	// log is an empty line.
	fmt.Fprintln(c.ts.Stdout(), strings.Join(c.upstream().Requests(), "\n"))
	if c.forget {
		c.upstream().Forget()
	}
	return nil
}

func awaitRequest(c *call) error {
	c.want(1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.upstream().Await(ctx, c.args[0])
}

func serveDatabase(c *call) error {
	c.want(0)
	url, stop, err := c.db.Serve()
	if err != nil {
		return err
	}
	c.ts.Defer(stop)
	c.ts.Setenv("SUMDB_URL", url)
	return nil
}

func flipDatabase(c *call) error {
	c.want(1)
	modPath, version, _ := strings.Cut(c.args[0], "@")
	c.db.Flip(modPath, version)
	return nil
}
