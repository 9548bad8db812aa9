package cmd

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// coldRun is what one go command took and what it cost.
type coldRun struct {
	seconds  float64
	requests int
	inFlight int
	trips    int
	bytes    int64 // from upstream, sumdb included
	direct   int   // tries to reach the origin of a module

	rss, wasted int64   // of gomirror; 0 where it is not known
	cpu         float64 // of gomirror, seconds

	goMod, goSum string
	hashes       map[string]string // of zips by module version
}

// sameResult ends the benchmark if gomirror changed anything but the time.
func sameResult(b *testing.B, plain, mirrored coldRun) {
	b.Helper()
	if plain.goMod != mirrored.goMod {
		b.Fatalf("go.mod through gomirror is\n%s\nwithout it\n%s", mirrored.goMod, plain.goMod)
	}
	if plain.goSum != mirrored.goSum {
		b.Fatalf("go.sum through gomirror is\n%s\nwithout it\n%s", mirrored.goSum, plain.goSum)
	}
	if !maps.Equal(plain.hashes, mirrored.hashes) {
		b.Fatalf("gomirror gave %d zips, which are not the same as the %d without it", len(mirrored.hashes), len(plain.hashes))
	}
}

func (r coldRun) wastedShare() float64 {
	if r.bytes == 0 {
		return 0
	}
	return 100 * float64(r.wasted) / float64(r.bytes)
}

// report tells a cell's figures to the benchmark: medians where there are several runs.
func report(b *testing.B, plain, mirrored []coldRun) coldResult {
	of := func(runs []coldRun, figure func(coldRun) float64) float64 {
		var list []float64
		for _, r := range runs {
			list = append(list, figure(r))
		}
		return median(list)
	}
	seconds := func(r coldRun) float64 { return r.seconds }
	res := coldResult{plain: of(plain, seconds), mirrored: of(mirrored, seconds)}
	for name, figure := range map[string]func(coldRun) float64{
		"reqs":     func(r coldRun) float64 { return float64(r.requests) },
		"MB":       func(r coldRun) float64 { return float64(r.bytes) / 1e6 },
		"trips":    func(r coldRun) float64 { return float64(r.trips) },
		"inflight": func(r coldRun) float64 { return float64(r.inFlight) },
		"direct":   func(r coldRun) float64 { return float64(r.direct) },
	} {
		b.ReportMetric(of(plain, figure), "plain-"+name)
		b.ReportMetric(of(mirrored, figure), "mirror-"+name)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(res.ratio(), "ratio")
	b.ReportMetric(res.plain, "plain-s")
	b.ReportMetric(res.mirrored, "mirror-s")
	b.ReportMetric(of(mirrored, func(r coldRun) float64 { return float64(r.wasted) / 1e6 }), "wasted-MB")
	b.ReportMetric(of(mirrored, coldRun.wastedShare), "wasted-%")
	b.ReportMetric(of(mirrored, func(r coldRun) float64 { return float64(r.rss) / (1 << 20) }), "rss-MiB")
	b.ReportMetric(of(mirrored, func(r coldRun) float64 { return r.cpu }), "cpu-s")
	return res
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	list = slices.Sorted(slices.Values(list))
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2
}

type coldResult struct{ plain, mirrored float64 } // seconds

func (r coldResult) ratio() float64 { return r.mirrored / r.plain }

// coldResults is the table of the README. Cells that did not run are empty.
type coldResults map[coldCell]coldResult

// String returns a row for each set, command and GOMAXPROCS, a column for each round
// trip: the ratio, and the seconds with and without gomirror.
func (t coldResults) String() string {
	var b strings.Builder
	b.WriteString("| set | command | GOMAXPROCS | 0 ms | 5 ms | 20 ms | 100 ms | 300 ms |\n|---|---|---|---|---|---|---|---|\n")
	done := make(map[coldCell]bool)
	for _, c := range coldCells() {
		row := c
		row.rtt = 0
		if done[row] {
			continue
		}
		done[row] = true
		cells, ran := "", false
		for _, rtt := range coldRTTs() {
			c.rtt = rtt * time.Millisecond
			r, ok := t[c]
			if !ok {
				cells += " |"
				continue
			}
			ran = true
			cells += fmt.Sprintf(" **%.2f** (%.0f / %.0f s) |", r.ratio(), r.mirrored, r.plain)
		}
		if ran {
			fmt.Fprintf(&b, "| %s | `go %s` | %d |%s\n", c.set, strings.Join(coldWorks()[c.cmd].args, " "), c.procs, cells)
		}
	}
	return b.String()
}
