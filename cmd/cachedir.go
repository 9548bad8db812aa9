package cmd

import (
	"fmt"

	"github.com/spf13/cobra"
)

// newCache declares the commands on the cache as a whole.
func newCache(env *Env) *cobra.Command {
	return group(&cobra.Command{
		Use:   "cache",
		Short: "Look after what gomirror has stored",
	}, newCacheDir(env))
}

// newCacheDir declares cache dir, for scripts that keep the cache between CI jobs.
func newCacheDir(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "dir",
		Short: "Print the folder of the cache",
		Args:  arguments(""),
		RunE:  func(*cobra.Command, []string) error { return runCacheDir(env) },
	}
}

// runCacheDir prints the configured folder whether or not it exists: it asks
// nothing and makes nothing.
func runCacheDir(env *Env) error {
	s, err := loadSettings(env, nil)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(struct {
			SchemaVersion int    `json:"schema_version"`
			Dir           string `json:"dir"`
		}{1, s.cacheDir})
	}
	_, err = fmt.Fprintln(env.Stdout, s.cacheDir)
	return err
}
