package cmd

import (
	"context"
	"errors"
)

// serveForeground wires the parts and serves until ctx ends.
func serveForeground(ctx context.Context, env *Env, s *settings, opts serveOptions) error {
	return errors.New("serve: not assembled yet")
}
