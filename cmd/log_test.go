package cmd

import (
	"bytes"
	"log"
	"strings"
	"testing"
)

// What net/http says by itself, which may be a stranger's text, is for who asks with -v,
// and for nobody where no sidecar runs.
func TestLibrariesAreQuiet(t *testing.T) {
	out, flags := log.Writer(), log.Flags()
	defer func() {
		log.SetOutput(out)
		log.SetFlags(flags)
	}()
	const said = "Unsolicited response received on idle HTTP channel"
	for _, verbose := range []bool{false, true} {
		var stderr bytes.Buffer
		e := &Env{Stderr: &stderr}
		e.verbose = verbose
		hush()
		log.Print(said, " by a command")
		e.logger(nil, serveOptions{})
		log.Print(said, " by a sidecar")
		log.SetOutput(out) // nobody writes to stderr from here on
		if got := stderr.String(); strings.Contains(got, "by a command") || strings.Contains(got, "by a sidecar") != verbose {
			t.Errorf("verbose %t: stderr has %q", verbose, got)
		}
	}
}
