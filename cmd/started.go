package cmd

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gomirror/gomirror/doctor"
)

// startedFile holds the status of the start while a daemon runs. A daemon that hangs can't
// tell any more what is private, and the next one must not forget it.
const startedFile = "started.json"

// noteStart writes it, and has it go when the daemon ends by itself.
func (a *assembly) noteStart(doc statusDoc) {
	name := filepath.Join(a.s.stateDir, startedFile)
	content, err := json.Marshal(doc)
	if err == nil {
		err = os.WriteFile(name, content, 0o600)
	}
	if err != nil {
		a.log.Warn("start not noted", "err", err)
		return
	}
	a.keep(func() error {
		if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// readStarted returns what a daemon has noted that did not end by itself.
func readStarted(stateDir string) (last doctor.DaemonStatus) {
	content, err := os.ReadFile(filepath.Join(stateDir, startedFile))
	if err != nil || json.Unmarshal(content, &last) != nil {
		return doctor.DaemonStatus{}
	}
	return last
}
