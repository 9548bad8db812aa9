package cmd

import (
	"encoding/json"
	"os"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
	"golang.org/x/term"
)

// palette holds the few styles of human output. They use the terminal's own 16
// colours, which the user has made readable, and never carry meaning alone.
type palette struct {
	label, good, warn, bad lipgloss.Style
}

// palette returns the styles for stdout, plain where colour is not wanted.
func (e *Env) palette() palette {
	r := lipgloss.NewRenderer(e.Stdout) // not the default one: that is a global
	r.SetColorProfile(termenv.Ascii)
	if e.colored() {
		r.SetColorProfile(termenv.ANSI)
	}
	return palette{
		label: r.NewStyle().Faint(true),
		good:  r.NewStyle().Foreground(lipgloss.ANSIColor(2)),
		warn:  r.NewStyle().Foreground(lipgloss.ANSIColor(3)),
		bad:   r.NewStyle().Foreground(lipgloss.ANSIColor(1)).Bold(true),
	}
}

// colored decides by --color, then by what the environment says, then by whether a
// terminal listens. See https://no-color.org and https://bixense.com/clicolors.
func (e *Env) colored() bool {
	switch {
	case e.color == "always":
		return true
	case e.color == "never", e.Getenv("NO_COLOR") != "":
		return false
	case e.Getenv("CLICOLOR_FORCE") != "" && e.Getenv("CLICOLOR_FORCE") != "0":
		return true
	case e.Getenv("TERM") == "dumb":
		return false
	}
	return e.onTerminal()
}

// onTerminal reports whether somebody looks at stdout.
func (e *Env) onTerminal() bool {
	f, ok := e.Stdout.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// checkColor refuses a misspelt mode, which would else look like auto.
func checkColor(color string) error {
	switch color {
	case "auto", "always", "never":
		return nil
	}
	return usagef("--color auto", "unknown --color %q: want auto, always or never", color)
}

// printJSON prints the one document of a --json command.
func (e *Env) printJSON(doc any) error {
	enc := json.NewEncoder(e.Stdout)
	enc.SetEscapeHTML(false) // "&" and "<" in URLs stay readable
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}
