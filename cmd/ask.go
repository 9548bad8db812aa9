package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// canAsk reports whether somebody is there to read a question and answer it.
func (e *Env) canAsk() bool {
	in, inOK := e.Stdin.(*os.File)
	out, outOK := e.Stderr.(*os.File)
	return inOK && outOK && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
}

// errInterrupted is a Ctrl-C that was read as a key.
var errInterrupted = errors.New("interrupted")

// ask puts a question on the terminal and reads a line. A hidden one is not shown as
// it is typed. The caller has seen that canAsk.
func (e *Env) ask(ctx context.Context, question string, hidden bool) (string, error) {
	tty := e.Stdin.(*os.File)
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	defer func() { _ = term.Restore(int(tty.Fd()), before) }() // nothing is left to do if that fails
	if hidden {
		// Before the question, so that who types fast does not see it; ReadPassword of
		// x/term hides after it.
		if _, err := term.MakeRaw(int(tty.Fd())); err != nil {
			return "", fmt.Errorf("hide what is typed: %w", err)
		}
	}
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	go func() { // ends with a line, or with the process: a terminal's read can't be called off
		read := readLine
		if hidden {
			read = readHidden
		}
		text, err := read(tty, e.Stderr, question)
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			fmt.Fprint(e.Stderr, "\r\n")
		}
		return a.text, a.err
	case <-ctx.Done():
		fmt.Fprint(e.Stderr, "\r\n")
		return "", ctx.Err()
	}
}

// readLine asks and reads up to the end of a line.
func readLine(tty *os.File, out io.Writer, question string) (string, error) {
	fmt.Fprint(out, question)
	var line []byte
	keys := &keyReader{from: tty}
	var b [1]byte
	for {
		if _, err := keys.Read(b[:]); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, b[0])
	}
}

// readHidden asks and reads on a raw terminal.
func readHidden(tty *os.File, out io.Writer, question string) (string, error) {
	keys := &keyReader{from: tty}
	text, err := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keys, out}, "").ReadPassword(question)
	if keys.interrupted {
		return "", errInterrupted
	}
	return text, err
}

// keyReader reads a byte at a time, for what follows a line may be the answer to the
// next question. On a raw terminal it notices Ctrl-C, which sends no signal there.
type keyReader struct {
	from        io.Reader
	interrupted bool
}

func (k *keyReader) Read(b []byte) (int, error) {
	n, err := k.from.Read(b[:min(1, len(b))])
	if n == 1 && b[0] == 3 {
		k.interrupted = true
	}
	return n, err
}
