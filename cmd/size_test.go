package cmd

import "testing"

func TestParseSize(t *testing.T) {
	tests := []struct {
		text string
		want int64 // -1: refused
	}{
		{"0", 0}, {"512", 512}, {"512B", 512}, {"64MiB", 64 << 20}, {"64 MiB", 64 << 20}, {"64mb", 64 << 20}, {"64m", 64 << 20},
		{"1.5GiB", 3 << 29}, {"2T", 2 << 40}, {"", -1}, {"MiB", -1}, {"-1MiB", -1}, {"64XiB", -1}, {"64MiB/s", -1}, {"1e30", -1}, {"NaN", -1},
		{"64BB", -1}, {"Inf", -1}, {"64KM", -1},
	}
	for _, test := range tests {
		got, err := parseSize(test.text)
		if err != nil {
			got = -1
		}
		if got != test.want {
			t.Errorf("%q: got %d (%v), want %d", test.text, got, err, test.want)
		}
	}
	for _, n := range []int64{0, 1, 1 << 10, 64 << 20, 5 << 30} {
		if got, err := parseSize(size(n)); err != nil || got != n {
			t.Errorf("size(%d) is %q, read back as %d, %v", n, size(n), got, err)
		}
	}
}
