package cmd

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// Who types gomirror doctor - without a pipe ends it with Ctrl-C.
func TestDoctorReadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		in, out := io.Pipe()
		defer out.Close() // ends the read
		if _, err := (&Env{Stdin: in}).readComplaints(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
	})
}
