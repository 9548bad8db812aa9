package doctor

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func found(status Status) func(context.Context) []Finding {
	return func(context.Context) []Finding { return []Finding{{Status: status, Text: string(status)}} }
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		defer close(stuck)
		checks := []Check{
			{"A01", "auth", func(ctx context.Context) []Finding {
				<-ctx.Done() // honours its limit
				return []Finding{{Status: Warn, Text: "slow"}}
			}},
			{"A02", "auth", found(OK)},
			{"A03", "auth", func(context.Context) []Finding { panic("oops") }},
			{"A04", "auth", func(context.Context) []Finding { <-stuck; return nil }},
			{"A05", "auth", func(context.Context) []Finding { return nil }},
		}
		start := time.Now()
		var shown []string
		results := Run(t.Context(), checks, func(r Result) { shown = append(shown, r.ID) })
		want := []Status{Warn, OK, Fail, Fail, Skipped}
		for i, r := range results {
			if r.ID != checks[i].ID || shown[i] != r.ID || r.Worst() != want[i] {
				t.Errorf("result %d is %s %s, shown as %s; want %s %s", i, r.ID, r.Worst(), shown[i], checks[i].ID, want[i])
			}
		}
		if took := time.Since(start); took >= 6*time.Second {
			t.Errorf("all took %v, want under 6 s", took)
		}
	})
}

func TestWorst(t *testing.T) {
	for _, tt := range []struct {
		found []Status
		want  Status
	}{
		{nil, Skipped},
		{[]Status{OK, Skipped}, OK},
		{[]Status{OK, Warn, OK}, Warn},
		{[]Status{Fail, Warn, Skipped}, Fail},
	} {
		var r Result
		for _, status := range tt.found {
			r.Findings = append(r.Findings, Finding{Status: status})
		}
		if got := r.Worst(); got != tt.want {
			t.Errorf("worst of %v is %s, want %s", tt.found, got, tt.want)
		}
	}
}
