package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gomirror/gomirror/serve/upstream"
)

// Suggestion is a list of upstreams in a better order, and what it goes by.
type Suggestion struct {
	List    string    // as GOPROXY has it, without passwords
	Command string    // what sets it; "" if it is set already
	Seen    []Finding // one of each upstream, with its legs
}

// Suggest measures the upstreams and puts them in order. Those that do not work are
// left out. A company's own proxy keeps its place, for what comes before it learns the
// names of the company's modules.
func Suggest(ctx context.Context, o Options) (Suggestion, error) {
	if o.Offline {
		return Suggestion{}, errors.New("no upstream is asked: the setting offline is true")
	}
	n := newNetwork(o)
	targets, err := n.targets()
	if err != nil {
		return Suggestion{}, fmt.Errorf("read the list of upstreams: %w", err)
	}
	targets = slices.DeleteFunc(targets, func(t target) bool { return t.role != asMirror })
	ctx, cancel := context.WithTimeout(ctx, visitsLimit)
	defer cancel()
	visits := n.visitAll(ctx, targets)
	var s Suggestion
	for _, f := range n.findings(ctx, visits) {
		if f.Upstream != "" {
			s.Seen = append(s.Seen, f)
		}
	}
	entries := n.suggest(visits)
	if len(entries) == 0 {
		return s, nil
	}
	s.List = joinEntries(entries, func(e upstream.Entry) string { return e.String() })
	if s.List != bareList(n.upstreams()) {
		// With the passwords, which only the user's own terminal sees.
		s.Command = n.upstreamCommand(joinEntries(entries, func(e upstream.Entry) string { return e.URL }))
	}
	return s, nil
}

// suggest returns the entries that work in the order of their time to the first byte;
// none if no proxy works.
func (n *network) suggest(visits []*visit) []upstream.Entry {
	entries, err := upstream.ParseList(n.upstreams())
	if err != nil {
		return nil
	}
	type known struct {
		fixed bool
		took  time.Duration
		works bool
	}
	seen := make(map[string]known)
	for _, v := range visits {
		switch {
		case v.role == asMirror:
			seen[v.entry.URL] = known{v.entryIsPrivate(), v.took(), v.fault == nil || v.fault.kind == "429"}
		case v.role == asTarget && v.fault != nil: // what sends there does not work either
			for url, k := range seen {
				if (upstream.Entry{URL: url}).String() == v.from {
					k.works = false
					seen[url] = k
				}
			}
		}
	}
	var kept []upstream.Entry
	works := false
	for _, e := range entries {
		k, isProxy := seen[e.URL]
		if !isProxy || k.works {
			kept = append(kept, e)
			works = works || isProxy
		}
	}
	if !works {
		return nil
	}
	// Runs of public mirrors are sorted. Any of them may stand in for another, so that
	// "|" is right between them whatever stood there; what followed the run follows it.
	for i := 0; i < len(kept); {
		j := i
		for j < len(kept) && seen[kept[j].URL].works && !seen[kept[j].URL].fixed {
			j++
		}
		if run := kept[i:j]; len(run) > 1 {
			last := run[len(run)-1].FallBackOnError
			// Not slices.SortFunc: "quicker by a fifth" is no strict weak order.
			for a := range run {
				for b := a; b > 0 && 5*seen[run[b].URL].took < 4*seen[run[b-1].URL].took; b-- {
					run[b], run[b-1] = run[b-1], run[b]
				}
			}
			for k := range run {
				run[k].FallBackOnError = k < len(run)-1 || last
			}
		}
		i = max(j, i+1)
	}
	return kept
}

// setUpstream is the command that sets the list, in the place that it now comes from.
func (n *network) setUpstream(list string) string { return n.upstreamCommand(fillable(list)) }

func (n *network) upstreamCommand(list string) string {
	if n.o.Origins["upstream"] == "GOMIRROR_UPSTREAM" {
		return n.restarted("export GOMIRROR_UPSTREAM="+quoted(list), "upstream")
	}
	return n.restarted("gomirror config set upstream "+quoted(list), "upstream")
}

// UpstreamTable returns the times of the upstreams among findings as lines of at most
// 78 columns, nil where there are none. Any terminal shows them.
func UpstreamTable(findings []Finding) []string {
	legs := []string{"dns", "tcp", "proxy", "tls", "first byte"}
	const nameColumns = 35
	line := func(name string, cells []string) string {
		if r := []rune(name); len(r) > nameColumns {
			name = string(r[:nameColumns-3]) + "..."
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%-*s", nameColumns, name)
		for i, cell := range cells {
			width := []int{7, 7, 7, 7, 7, 8}[i]
			fmt.Fprintf(&b, "%*s", width, cell)
		}
		return strings.TrimRight(b.String(), " ")
	}
	lines := []string{line("upstream", []string{"dns", "tcp", "proxy", "tls", "answer", "all"})}
	for _, f := range findings {
		if f.Upstream == "" {
			continue
		}
		var sum time.Duration
		var cells []string
		for _, leg := range legs {
			cell := "-"
			for _, l := range f.Legs {
				if l.Name == leg {
					sum += l.Took
					cell = ms(l.Took)
					if l.Err != "" {
						cell = "fails"
					}
				}
			}
			cells = append(cells, cell)
		}
		total := ms(sum)
		if f.Status != OK {
			total = string(f.Status)
		}
		lines = append(lines, line(f.Upstream, append(cells, total)))
	}
	if len(lines) == 1 {
		return nil
	}
	return lines
}
