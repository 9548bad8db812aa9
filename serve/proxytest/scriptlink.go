package proxytest

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// addBig adds a module whose zip is about as large as asked for.
func addBig(c *call) error {
	c.want(2)
	modPath, version, _ := strings.Cut(c.args[0], "@")
	size, err := strconv.Atoi(c.args[1])
	if err != nil {
		return err
	}
	return c.upstream().add(bigModule(modPath, version, size))
}

func addProject(c *call) error {
	if len(c.args) == 2 {
		c.args = append(c.args, "1")
	}
	c.want(3)
	n, err := strconv.Atoi(c.args[1])
	if err != nil {
		return err
	}
	scale, err := strconv.Atoi(c.args[2])
	if err != nil {
		return err
	}
	return c.upstream().AddForest(c.ts.MkAbs(c.args[0]), n, scale)
}

func setLink(c *call) error {
	if len(c.args) == 1 {
		c.args = append(c.args, "0")
	}
	c.want(2)
	rtt, err := time.ParseDuration(c.args[0])
	if err != nil {
		return err
	}
	bandwidth, err := strconv.ParseFloat(c.args[1], 64)
	if err != nil {
		return err
	}
	c.upstream().SetLink(Link{RTT: rtt, Bandwidth: bandwidth})
	return nil
}

func openBlackHole(c *call) error {
	c.want(1)
	addr, closeHole, err := BlackHole()
	if err != nil {
		return err
	}
	c.ts.Defer(closeHole)
	c.ts.Setenv(c.args[0], "http://"+addr)
	c.ts.Setenv(c.args[0]+"_ADDR", addr)
	return nil
}

// within runs a program and holds it to its time.
func within(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: within [MIN..]MAX PROGRAM ARG…")
	}
	shortest, longest, ok := strings.Cut(args[0], "..")
	if !ok {
		shortest, longest = "0s", args[0]
	}
	least, err := time.ParseDuration(shortest)
	ts.Check(err)
	most, err := time.ParseDuration(longest)
	ts.Check(err)
	start := time.Now()
	execWrapped(ts, neg, nil, args[1:])
	if took := time.Since(start); took < least || took > most {
		ts.Fatalf("%s took %v, want %s", strings.Join(args[1:], " "), took, args[0])
	}
}

// count prints the figures, and holds one of them against a limit.
func count(c *call) error {
	now := c.upstream().Counts()
	fmt.Fprintf(c.ts.Stdout(), "requests=%d bytes=%d ranges=%d inflight=%d roundtrips=%d\n",
		now.Requests, now.Sent(), now.Ranges, now.InFlight, now.RoundTrips)
	c.ts.Logf("%+v", now)
	if c.save != "" {
		c.counts[c.save] = now
	}
	if c.forget {
		c.upstream().Forget()
	}
	if len(c.args) == 0 {
		return nil
	}
	c.want(3)
	got, err := now.figure(c.args[0])
	if err != nil {
		return err
	}
	limit, err := c.limit(c.args[0], c.args[2])
	if err != nil {
		return err
	}
	if d := cmp.Compare(got, limit); c.args[1] == "<=" && d > 0 || c.args[1] == ">=" && d < 0 {
		return fmt.Errorf("%s: %v, want %s %v", c.args[0], got, c.args[1], limit)
	} else if c.args[1] != "<=" && c.args[1] != ">=" {
		return fmt.Errorf("compare by <= or >=, not %q", c.args[1])
	}
	return nil
}

// limit reads "40", "NAME" and "0.4*NAME".
func (c *call) limit(figure, text string) (float64, error) {
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return n, nil
	}
	factor, name, ok := strings.Cut(text, "*")
	if !ok {
		factor, name = "1", text
	}
	f, err := strconv.ParseFloat(factor, 64)
	if err != nil {
		return 0, err
	}
	saved, ok := c.counts[name]
	if !ok {
		return 0, fmt.Errorf("no figures were saved as %q", name)
	}
	n, err := saved.figure(figure)
	return f * n, err
}

func (c Counts) figure(name string) (float64, error) {
	kind, ofKind := strings.CutPrefix(name, "bytes.")
	switch {
	case ofKind:
		return float64(c.Bytes[kind]), nil
	case name == "bytes":
		return float64(c.Sent()), nil
	case name == "requests":
		return float64(c.Requests), nil
	case name == "ranges":
		return float64(c.Ranges), nil
	case name == "inflight":
		return float64(c.InFlight), nil
	case name == "conns":
		return float64(c.Conns), nil
	case name == "roundtrips":
		return float64(c.RoundTrips), nil
	}
	return 0, fmt.Errorf("no figure is called %q", name)
}
