package cmd

import (
	"errors"
	"runtime/debug"
)

// hardenProcess keeps what this process knows out of crash dumps and of the reach of
// other programs. It is called before the first secret is read: the token, the key of
// the proof and private source all pass through memory.
//
// Each measure is there for what the others leave: a core goes to a file, which the
// limit stops, or to a program that the kernel runs, which only an undumpable process
// stops (core(5)); GOTRACEBACK=crash in the environment overrules SetTraceback.
func hardenProcess() error {
	debug.SetTraceback("single") // one stack of a crash, not those of every request
	return errors.Join(noCore(), noDump())
}
