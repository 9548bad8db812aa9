package doctor_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/doctor/doctortest"
)

// slow answers after a while that no scheduler adds by itself.
func slow(w http.ResponseWriter, r *http.Request) {
	select {
	case <-time.After(2 * time.Second):
		w.Header().Set("Content-Type", "text/plain")
	case <-r.Context().Done():
	}
}

// hang waits for the client to leave and sends nothing: what a handler that returns
// would send may still reach a client that is closing its connection.
func hang(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

func TestSuggest(t *testing.T) {
	tests := []struct {
		name, list string
		set        func(*world)
		want       string // "" for nothing to set
	}{
		{"the quicker one first", "https://mirror.example.com,https://b.example.net,direct",
			func(w *world) { w.mirror.Serve(slow) }, "gomirror config set upstream 'https://b.example.net|https://mirror.example.com,direct'"},
		{"good as it is", "https://b.example.net|https://mirror.example.com,direct",
			func(w *world) { w.mirror.Serve(slow) }, ""},
		{"without the broken one", "https://mirror.example.com|https://b.example.net,direct",
			func(w *world) { w.mirror.Port(doctortest.Closed) }, "gomirror config set upstream https://b.example.net,direct"},
		{"a company's own stays first", "https://corp.example.com,https://mirror.example.com,https://b.example.net,direct",
			func(w *world) {
				w.Host("corp.example.com").Serve(slow)
				w.o.Dial = w.Reroute("10.0.0.5", "corp.example.com")
				w.resolver.Lie("corp.example.com", "10.0.0.5")
				w.mirror.Serve(slow)
			}, "gomirror config set upstream 'https://corp.example.com,https://b.example.net|https://mirror.example.com,direct'"},
		{"so does one with a password", "https://u:p@mirror.example.com,https://b.example.net,direct",
			func(w *world) { w.mirror.Serve(slow) }, ""},
		{"none works", "https://mirror.example.com,https://b.example.net",
			func(w *world) { w.resolver.Say("", doctortest.NXDomain) }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Host("b.example.net")
			w.o.Upstream = tt.list
			w.o.Resolvers = w.Resolvers()
			tt.set(w)
			got, err := doctor.Suggest(t.Context(), w.o)
			if err != nil || got.Command != tt.want {
				t.Errorf("says %q, %v, want %q\n%s", got.Command, err, tt.want, show(got.Seen))
			}
			lines := doctor.UpstreamTable(got.Seen)
			if want := strings.Count(tt.list, "https://") + 1; len(lines) != want {
				t.Errorf("the table has %d lines, want %d:\n%s", len(lines), want, strings.Join(lines, "\n"))
			}
			fits(t, lines)
			for _, f := range got.Seen {
				fits(t, doctor.Bars(f.Legs, 0, 80, false))
			}
		})
	}
}

func fits(t *testing.T, lines []string) {
	t.Helper()
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > 80 || strings.Contains(line, "…") {
			t.Errorf("%d columns:\n%s", n, line)
		}
	}
}

func TestBars(t *testing.T) {
	legs := []doctor.Leg{
		{Name: "dns", Took: 10 * time.Millisecond},
		{Name: "tcp", Took: 20 * time.Millisecond},
		{Name: "tls", Took: 30 * time.Millisecond},
		{Name: "first byte", Took: 40 * time.Millisecond, Err: "no answer"},
	}
	tests := []struct {
		name  string
		legs  []doctor.Leg
		whole time.Duration
		ascii bool
		want  string
	}{
		{"one connection", legs, 0, false, `
dns          10 ms  ██
tcp          20 ms    ████
tls          30 ms        ██████
first byte   40 ms              ███████×`},
		{"beside a slower one", legs, 200 * time.Millisecond, true, `
dns          10 ms  #
tcp          20 ms   ##
tls          30 ms     ###
first byte   40 ms        ###x`},
		{"no time at the end", []doctor.Leg{{Name: "tcp", Took: time.Second}, {Name: "tls", Took: time.Microsecond}}, 0, false, `
tcp            1 s  ███████████████████
tls           1 ms                     █`},
		{"nothing", nil, 0, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(doctor.Bars(tt.legs, tt.whole, 40, tt.ascii), "\n")
			if want := strings.TrimPrefix(tt.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
