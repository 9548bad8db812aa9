package cmd

import "github.com/rogpeppe/go-internal/testscript"

func guardCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"browse": browse,
	}
}
