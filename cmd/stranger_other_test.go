//go:build !linux

package cmd

import "github.com/rogpeppe/go-internal/testscript"

// guardCommands needs what Debian has: Chromium, and users to be.
func guardCommands() map[string]func(*testscript.TestScript, bool, []string) { return nil }

func guardPrograms() map[string]func() { return nil }

func setUpStrangers(*testscript.Env) {}
