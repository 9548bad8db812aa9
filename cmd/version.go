package cmd

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Stamped at link time by -ldflags "-X github.com/gomirror/gomirror/cmd.version=v1.2.3 …".
// The linker can only set package variables, so these three are the exception to the
// rule against them; nothing assigns to them at run time.
var version, commit, date string

// versionDoc is the document of `version --json`.
type versionDoc struct {
	SchemaVersion int    `json:"schema_version"`
	Version       string `json:"version"`
	Commit        string `json:"commit,omitempty"`
	Date          string `json:"date,omitempty"`
	Go            string `json:"go"`
	Platform      string `json:"platform"`
}

// buildVersion tells what this binary is. A build without stamps (go install, go
// build) says what the go command recorded in it.
func buildVersion() versionDoc {
	doc := versionDoc{
		SchemaVersion: 1,
		Version:       version,
		Commit:        commit,
		Date:          date,
		Go:            runtime.Version(),
		Platform:      runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && doc.Commit == "":
			doc.Commit = s.Value
		case s.Key == "vcs.time" && doc.Date == "":
			doc.Date = s.Value
		}
	}
	if doc.Version == "" {
		doc.Version = info.Main.Version
	}
	if doc.Version == "" || doc.Version == "(devel)" {
		doc.Version = "devel"
	}
	return doc
}

// newVersion declares version.
func newVersion(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, commit and date of this binary",
		Args:  arguments(""),
		RunE:  func(*cobra.Command, []string) error { return runVersion(env) },
	}
}

// runVersion prints one line, made to be pasted into a bug report.
func runVersion(env *Env) error {
	doc := buildVersion()
	if env.json {
		return env.printJSON(doc)
	}
	line := "gomirror " + doc.Version
	if doc.Commit != "" {
		line += " " + doc.Commit[:min(12, len(doc.Commit))]
	}
	if doc.Date != "" {
		line += " " + doc.Date
	}
	_, err := fmt.Fprintf(env.Stdout, "%s %s %s\n", line, doc.Go, doc.Platform)
	return err
}
