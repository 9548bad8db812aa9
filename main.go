// Command gomirror is a per-user localhost Go module proxy. Run it beside the go
// command; README.md shows how.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/gomirror/gomirror/cmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(cmd.Run(ctx, cmd.OSEnv()))
}
