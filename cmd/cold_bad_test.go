package cmd

import (
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/proxytest"
)

// BenchmarkBadLink pulls set A again and again over a link on which a fifth of the
// bodies is cut, a tenth of the requests gets 503 and a fiftieth no answer at all,
// checksum database included, and counts the pulls that finish:
//
//	go test -run '^$' -bench BadLink -benchtime 1x -timeout 5h ./cmd -cold.pulls 20
func BenchmarkBadLink(b *testing.B) {
	lab := newColdLab(b)
	p := lab.project(b, "A")
	c := coldCell{set: "A", cmd: "download", rtt: 100 * time.Millisecond, procs: 2}
	p.upstream.SetLink(coldLink(c.rtt))
	clean := p.pullThroughGomirror(b, c)
	const plainPulls = 2 // each of them fails as soon as the first body is cut
	var seconds []float64
	finished, plain, bytes, rss := 0, 0, int64(0), int64(0)
	for pull := range *coldPulls * b.N {
		spoil(p.upstream, uint64(pull))
		m := p.startGomirror(b, c)
		r, err := m.tryPull(b, c)
		m.stop(b, &r)
		if err != nil {
			b.Logf("pull %d ended after %.0f s: %v", pull, r.seconds, err)
		} else {
			sameResult(b, clean, r)
			finished++
			seconds = append(seconds, r.seconds)
			bytes += r.bytes
		}
		rss = max(rss, r.rss)
		if pull < plainPulls {
			// A go command that is never answered waits for ever; ours may take its time.
			home := p.newHome(b)
			p.patience = 2 * time.Minute
			if _, err := p.run(b, c, home, p.environ(home, c)); err == nil {
				plain++
			}
			p.patience = goPatience
		}
		p.upstream.Mend()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(*coldPulls*b.N), "pulls")
	b.ReportMetric(float64(finished), "finished")
	b.ReportMetric(float64(plain)/plainPulls, "plain-finished-share")
	b.ReportMetric(clean.seconds, "clean-s")
	b.ReportMetric(median(seconds), "bad-s")
	b.ReportMetric(100*(float64(bytes)/float64(max(finished, 1))/float64(clean.bytes)-1), "extra-%")
	b.ReportMetric(float64(rss)/(1<<20), "rss-MiB")
}

// spoil makes the link bad in a way that is another for each seed, and the same for
// the same.
func spoil(u *proxytest.Upstream, seed uint64) {
	u.Fault("/", proxytest.Fault{Kind: proxytest.Cut, Arg: "random", Chance: 0.2, Seed: 3 * seed})
	u.Fault("/", proxytest.Fault{Kind: proxytest.Status, Arg: "503 too busy", Chance: 0.1, Seed: 3*seed + 1})
	u.Fault("/", proxytest.Fault{Kind: proxytest.Hang, Chance: 0.02, Seed: 3*seed + 2})
}
