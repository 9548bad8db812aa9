package cmd

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestStatusRender(t *testing.T) {
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	doc := statusDoc{
		Version: "v1.2.3", PID: 4711, Started: started, Address: "127.0.0.1:24000",
		Cache: cacheDoc{"/home/me/.cache/gomirror"}, Upstream: "https://mirror.example,direct", Offline: true,
		Private:    []string{"github.com/acme", "github.com/some-long-organisation", "git.corp.example/another-team"},
		Stats:      statsDoc{Hits: 1203, Misses: 1, FetchedBytes: 12_900_000, ServedBytes: 1 << 40},
		Refused:    refusedDoc{Host: 1, Browser: 12, User: 1},
		SumDB:      []sumdbDoc{{Name: "sum.golang.org", Fork: "two records 17"}, {Name: "a.example", OutOfReach: true}, {Name: "b.example"}},
		Unverified: 1,
		Quarantine: []alarmDoc{{Module: "github.com/acme/x", Version: "v1.0.0", At: started, Reason: "got h1:" + strings.Repeat("a", 44) + " want h1:" + strings.Repeat("b", 44)}},
	}
	env := &Env{Stdout: &strings.Builder{}, Getenv: func(string) string { return "" }}
	got := doc.render(env.palette(), started.Add(26*time.Hour))
	for _, want := range []string{
		"gomirror  running offline, version v1.2.3, pid 4711, up 26h0m\n",
		"private   github.com/acme, github.com/some-long-organisation,\n          git.corp.example/another-team\n",
		"requests  1203 hits, 1 miss, 0 stale, 0 revalidated, 0 errors\n",
		"refused   1 for another host, 12 of browsers, 1 of other users\n",
		"bytes     12.3 MiB fetched, 1.00 TiB served\n",
		"checksums sum.golang.org contradicts itself: two records 17\n",
		"checksums a.example out of reach\n",
		"checksums b.example not asked yet\n",
		"          1 version to be checked once the database answers\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("status lacks %q", want)
		}
	}
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > statusWidth {
			t.Errorf("line of %d columns, want at most %d: %q", n, statusWidth, line)
		}
		if strings.HasSuffix(line, " \n") || strings.ContainsRune(line, '\x1b') {
			t.Errorf("line has an escape or ends in a space: %q", line)
		}
	}
	if t.Failed() {
		t.Log("\n" + got)
	}
}

func TestSize(t *testing.T) {
	tests := map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 12_900_000: "12.3 MiB", 140 << 20: "140 MiB", 1 << 60: "1048576 TiB"}
	for n, want := range tests {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestColored(t *testing.T) {
	tests := []struct {
		name, flag string
		env        map[string]string
		want       bool
	}{
		{"no terminal", "auto", nil, false},
		{"forced", "auto", map[string]string{"CLICOLOR_FORCE": "1", "TERM": "dumb"}, true},
		{"forced off", "auto", map[string]string{"CLICOLOR_FORCE": "0"}, false},
		{"no color wins", "auto", map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, false},
		{"the flag wins", "always", map[string]string{"NO_COLOR": "1"}, true},
		{"the flag wins the other way", "never", map[string]string{"CLICOLOR_FORCE": "1"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := &Env{Stdout: &strings.Builder{}, Getenv: func(k string) string { return tt.env[k] }}
			env.color = tt.flag
			if got := env.colored(); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}
