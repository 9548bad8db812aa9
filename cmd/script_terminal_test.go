package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/creack/pty"
)

// onTerminal is the program on-terminal: it runs another one on a terminal of 80
// columns, as somebody who reads before they type, and prints what the terminal
// showed. Its exit code is the other program's.
//
//	exec on-terminal DIALOGUE PROGRAM ARG…
//
// DIALOGUE is a file of lines: "< TEXT" waits until the terminal shows the text, "> TEXT"
// types it and Enter, "^C" and "^D" type that key. What takes a minute is ended.
func onTerminal() {
	err := converse(os.Args[1], os.Args[2:])
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "on-terminal:", err)
		os.Exit(99)
	}
}

func converse(dialogue string, argv []string) error {
	text, err := os.ReadFile(dialogue)
	if err != nil {
		return err
	}
	c := exec.Command(argv[0], argv[1:]...)
	terminal, err := pty.StartWithSize(c, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		return err
	}
	defer terminal.Close()
	lines := make(chan []byte)
	go func() { // ends when the program has closed its end of the terminal
		defer close(lines)
		for {
			b := make([]byte, 4096)
			n, err := terminal.Read(b)
			lines <- b[:n]
			if err != nil {
				return
			}
		}
	}()
	patience := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
	defer patience.Stop()
	said, err := talk(terminal, string(text), lines)
	if err != nil {
		_ = c.Process.Kill()
	}
	for more := range lines {
		said = append(said, more...)
	}
	os.Stdout.Write(bytes.ReplaceAll(said, []byte("\r\n"), []byte("\n")))
	return errors.Join(err, c.Wait())
}

// talk follows the dialogue and returns all that was shown until its end.
func talk(terminal io.Writer, dialogue string, shown <-chan []byte) (said []byte, err error) {
	seen := 0 // what an earlier line has waited for
	for line := range strings.Lines(dialogue) {
		kind, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch kind {
		case ">":
			_, err = io.WriteString(terminal, text+"\r")
		case "^C":
			_, err = io.WriteString(terminal, "\x03")
		case "^D":
			_, err = io.WriteString(terminal, "\x04")
		case "<":
			for !bytes.Contains(said[seen:], []byte(text)) {
				more, ok := <-shown
				if said = append(said, more...); !ok {
					return said, fmt.Errorf("the program ended, of its own or after a minute, before it said %q", text)
				}
			}
			seen += bytes.Index(said[seen:], []byte(text)) + len(text)
		}
		if err != nil {
			return said, err
		}
	}
	return said, nil
}
