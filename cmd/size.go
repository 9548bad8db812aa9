package cmd

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// sizeUnits are those of a number of bytes, each 1024 times the one before.
const sizeUnits = "BKMGT"

var sizeForm = regexp.MustCompile(`^(?i)([0-9]+(?:\.[0-9]+)?) ?([KMGT]?)(?:I?B)?$`)

// parseSize reads a number of bytes as [size] writes it and as people do: 64MiB, 64 MB
// and 64m are the same.
func parseSize(text string) (int64, error) {
	m := sizeForm.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("want a size such as 64MiB, not %q", text)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, fmt.Errorf("want a size such as 64MiB, not %q", text)
	}
	for range max(0, strings.Index(sizeUnits, strings.ToUpper(m[2]))) {
		n *= 1024
	}
	if n >= 1<<62 {
		return 0, fmt.Errorf("%s is more than there is", text)
	}
	return int64(n), nil
}

// size writes a number of bytes with three digits and a binary unit.
func size(n int64) string {
	f, i := float64(n), 0
	for f >= 1024 && i < len(sizeUnits)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.*f %ciB", max(0, 2-len(fmt.Sprint(int(f)))+1), f, sizeUnits[i])
}
