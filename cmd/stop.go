package cmd

import (
	"context"

	"github.com/spf13/cobra"
)

// newStop declares stop.
func newStop(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop gomirror; go falls back to what stands behind it",
		Args:  arguments(""),
		RunE:  func(c *cobra.Command, _ []string) error { return runStop(c.Context(), env) },
	}
}

// runStop returns when the daemon has ended, so that a start right after it finds
// the lock and the port free.
func runStop(ctx context.Context, env *Env) error {
	client, err := controlSocket()
	if err != nil {
		return err
	}
	if err := client.Stop(ctx); err != nil {
		return err
	}
	env.note("stopped")
	return nil
}
