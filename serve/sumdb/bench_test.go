//go:build unix

package sumdb

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// cpu returns the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBurst looks 300 versions up, as a cold pull does, and measures what a
// lookup costs. The database answers from memory; hot is the same with its answers
// worked out before.
func BenchmarkBurst(b *testing.B) {
	const n = 300
	for _, bc := range []struct {
		trip  time.Duration
		width int
	}{{100 * time.Millisecond, 16}, {100 * time.Millisecond, 2}, {0, 16}} {
		for name, stamp := range stampings() {
			b.Run(fmt.Sprintf("%v/%d/%s", bc.trip, bc.width, name), func(b *testing.B) {
				db := newBigDB(b, n)
				db.stamp = stamp
				db.burst(b, db.open(b, b.TempDir()), 0, n, 16) // what the database works out is its own cost
				var spent time.Duration
				var lookups, tiles, others, files int
				for b.Loop() {
					b.StopTimer()
					db.trip = bc.trip
					db.lookups.Store(0)
					db.count()
					dir := b.TempDir()
					d := db.open(b, dir)
					b.StartTimer()
					before := cpu()
					db.burst(b, d, 0, n, bc.width)
					spent += cpu() - before
					b.StopTimer()
					l, t, o := db.count()
					lookups, tiles, others = lookups+l, tiles+t, others+o
					d.Close()
					filepath.WalkDir(dir, func(_ string, e fs.DirEntry, _ error) error {
						if !e.IsDir() {
							files++
						}
						return nil
					})
					b.StartTimer()
				}
				per := float64(b.N * n)
				b.ReportMetric(float64(spent.Microseconds())/per, "cpu-µs/lookup")
				b.ReportMetric(float64(tiles)/per, "tiles/lookup")
				b.ReportMetric(float64(lookups+others)/per, "lookups/lookup")
				b.ReportMetric(float64(files)/per, "files/lookup")
				b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/burst")
			})
		}
	}
}
