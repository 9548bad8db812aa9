package doctor

import (
	"fmt"
	"strings"
	"time"
)

// Bars draws the legs of a connection one below the other, each beginning where the
// one before it ended, in lines of at most columns. whole is the time that a whole line
// stands for: that of the longest of several connections that are to be compared, 0 for
// this one's own. ascii is for terminals without UTF-8.
func Bars(legs []Leg, whole time.Duration, columns int, ascii bool) []string {
	var sum time.Duration
	for _, l := range legs {
		sum += l.Took
	}
	whole = max(whole, sum)
	const labels = len("first byte") + 1 + len("1234 ms") + 2
	room := columns - labels
	if whole <= 0 || room < 10 {
		return nil
	}
	full, broken := "█", "×"
	if ascii {
		full, broken = "#", "x"
	}
	var lines []string
	var before time.Duration
	for _, l := range legs {
		from := int(int64(room) * int64(before) / int64(whole))
		to := int(int64(room) * int64(before+l.Took) / int64(whole))
		before += l.Took
		// Every leg is seen, also one of no time at the very end.
		from = min(from, room-1)
		width := max(1, to-from)
		bar := strings.Repeat(full, width)
		if l.Err != "" {
			bar = strings.Repeat(full, width-1) + broken
		}
		lines = append(lines, fmt.Sprintf("%-10s %7s  %s%s", l.Name, ms(l.Took), strings.Repeat(" ", from), bar))
	}
	return lines
}
