package cmd

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/proxytest"
)

// The benchmarks of this file measure the promise faster-cold: how long the real go
// command takes to pull a project through a gomirror that has never seen it, against
// how long it takes without gomirror, over the same link, one right after the other.
//
//	TMPDIR=/dev/shm go test -run '^$' -bench 'Cold' -benchtime 1x -timeout 5h ./cmd
//	go test -run '^$' -bench 'Cold/set=A/cmd=download/rtt=100ms/procs=2$' -benchtime 1x ./cmd
//
// A disk of its own for TMPDIR keeps one cell out of the next: where ext4 makes a file it
// passes over each inode that was freed within the last minutes, and a cell leaves some
// 50,000. That alone took go mod download from 2.4 s to 9.
//
// The modules are those of proxytest.Project: set A is the one to tune on. Set B is
// there to find out whether that helped anything else; who tunes on B has no B.
//
// Each go command has a new home, module cache and build cache. The packages import
// nothing, so an empty build cache costs no standard library, and go build measures
// downloads, unpacking and some 200 runs of a compiler on three lines.
var (
	coldTable   = flag.Bool("cold.table", false, "print the cells that ran as the table of the README")
	coldPulls   = flag.Int("cold.pulls", 20, "pulls of BenchmarkBadLink")
	coldProgram = flag.String("cold.gomirror", "", "gomirror `program` to measure; \"\" builds the one here")
	coldRaw     = flag.Bool("cold.raw", false, "log what each run took and asked for")
)

// linkBandwidth is that of a household that shares 100 Mbit/s, in bytes a second.
const linkBandwidth = 12.5e6

// coldLink is the link of a cell. Who is next door shares no bandwidth either.
func coldLink(rtt time.Duration) proxytest.Link {
	l := proxytest.Link{RTT: rtt}
	if rtt > 5*time.Millisecond {
		l.Bandwidth = linkBandwidth
	}
	return l
}

// coldWork is what a developer does in a fresh clone.
type coldWork struct {
	args  []string
	sums  bool // the clone has a go.sum
	chain bool // GOPROXY ends in direct, as that of most people does
}

func coldWorks() map[string]coldWork {
	return map[string]coldWork{
		"download": {args: []string{"mod", "download"}, sums: true},
		"build":    {args: []string{"build", "./..."}, sums: true},
		"tidy":     {args: []string{"mod", "tidy"}},
		"get-u":    {args: []string{"get", "-u", "./..."}, sums: true, chain: true},
		"list-u":   {args: []string{"list", "-m", "-u", "all"}, sums: true, chain: true},
	}
}

// coldCell is a run with and one without gomirror.
type coldCell struct {
	set, cmd string
	rtt      time.Duration
	procs    int
}

func (c coldCell) name() string {
	return fmt.Sprintf("set=%s/cmd=%s/rtt=%dms/procs=%d", c.set, c.cmd, c.rtt.Milliseconds(), c.procs)
}

// coldRTTs are the distances in milliseconds.
func coldRTTs() []time.Duration { return []time.Duration{0, 5, 20, 100, 300} }

// coldCells is the table, in the order in which it is measured. What fetches lists is
// measured at one distance only.
func coldCells() []coldCell {
	var cells []coldCell
	for _, set := range []string{"A", "B"} {
		for _, cmd := range []string{"download", "build", "tidy", "get-u", "list-u"} {
			for _, rtt := range coldRTTs() {
				if coldWorks()[cmd].chain && rtt != 100 {
					continue
				}
				for _, procs := range []int{2, 8} {
					cells = append(cells, coldCell{set, cmd, rtt * time.Millisecond, procs})
				}
			}
		}
	}
	return cells
}

// BenchmarkCold prints for each cell the ratio of the medians, gomirror to none.
func BenchmarkCold(b *testing.B) {
	lab := newColdLab(b)
	table := make(coldResults)
	for i, c := range coldCells() {
		b.Run(c.name(), func(b *testing.B) {
			p := lab.project(b, c.set)
			p.upstream.SetLink(coldLink(c.rtt))
			var plain, mirrored []coldRun
			for n := range b.N {
				run := []func(){
					func() { plain = append(plain, p.pull(b, c)) },
					func() { mirrored = append(mirrored, p.pullThroughGomirror(b, c)) },
				}
				if (i+n)%2 == 1 {
					slices.Reverse(run) // what the machine does beside us hits neither side more
				}
				run[0]()
				run[1]()
				sameResult(b, plain[n], mirrored[n])
			}
			table[c] = report(b, plain, mirrored)
		})
	}
	if *coldTable {
		fmt.Print(table)
	}
}

// BenchmarkFloor is the go command's own work: everything lies in a file:// tree.
func BenchmarkFloor(b *testing.B) {
	lab := newColdLab(b)
	for _, set := range []string{"A", "B"} {
		for _, cmd := range []string{"download", "build"} {
			for _, procs := range []int{2, 8} {
				c := coldCell{set: set, cmd: cmd, procs: procs}
				b.Run(fmt.Sprintf("set=%s/cmd=%s/procs=%d", set, cmd, procs), func(b *testing.B) {
					p := lab.project(b, set)
					var seconds []float64
					for range b.N {
						seconds = append(seconds, p.pullFromTree(b, c).seconds)
					}
					b.ReportMetric(median(seconds), "file-s")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}

// BenchmarkSecond pulls what gomirror holds already, against a file:// tree.
func BenchmarkSecond(b *testing.B) {
	lab := newColdLab(b)
	for _, set := range []string{"A", "B"} {
		for _, procs := range []int{2, 8} {
			c := coldCell{set: set, cmd: "download", procs: procs}
			b.Run(fmt.Sprintf("set=%s/procs=%d", set, procs), func(b *testing.B) {
				p := lab.project(b, set)
				p.upstream.SetLink(coldLink(0))
				m := p.startGomirror(b, c)
				m.pull(b, c)
				var tree, second []coldRun
				for n := range b.N {
					run := []func(){
						func() { tree = append(tree, p.pullFromTree(b, c)) },
						func() { second = append(second, m.pull(b, c)) },
					}
					if n%2 == 1 {
						slices.Reverse(run)
					}
					run[0]()
					run[1]()
					sameResult(b, tree[n], second[n])
					if second[n].requests > 0 {
						b.Errorf("the second pull asked the upstream %d times", second[n].requests)
					}
				}
				m.stop(b, &second[len(second)-1])
				report(b, tree, second)
			})
		}
	}
}
