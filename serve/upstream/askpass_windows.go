package upstream

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// inletRead is how long an askpass may take to send its question.
const inletRead = 5 * time.Second

// inlet is a socket in the child's box, which is the user's alone: a process here
// inherits no socket through programs that don't know of it. Each askpass has a
// connection of its own.
type inlet struct {
	listener net.Listener
	name     string
}

func newInlet(box string) (*inlet, error) {
	name := filepath.Join(box, "ask") // short: the path of a socket has 108 bytes
	listener, err := net.Listen("unix", name)
	if err != nil {
		return nil, fmt.Errorf("open a socket for git's questions: %w", err)
	}
	return &inlet{listener, name}, nil
}

// handle is what the environment of the child says.
func (i *inlet) handle() string { return i.name }

// files are what the child inherits.
func (*inlet) files() []*os.File { return nil }

// started is for systems on which the child inherits its end.
func (*inlet) started() {}

func (i *inlet) close() { _ = i.listener.Close() }

// next waits for a question. An error is the end.
func (i *inlet) next() (question, error) {
	for {
		conn, err := i.listener.Accept()
		if err != nil {
			return question{}, err
		}
		_ = conn.SetDeadline(time.Now().Add(inletRead + askpassLimit))
		prompt, err := readLine(conn)
		if err != nil {
			_ = conn.Close()
			continue
		}
		return question{prompt, conn}, nil
	}
}

// readLine reads up to a line end, byte by byte: nothing follows before the answer.
func readLine(r io.Reader) (string, error) {
	var line strings.Builder
	for b := make([]byte, 1); line.Len() <= askpassPrompt; line.WriteByte(b[0]) {
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return line.String(), nil
		}
	}
	return "", fmt.Errorf("more than %d bytes", askpassPrompt)
}

// ask sends the question and reads the answer until the daemon hangs up.
func ask(handle, prompt string) (string, error) {
	if strings.ContainsAny(prompt, "\r\n") {
		return "", fmt.Errorf("the question has several lines")
	}
	conn, err := net.Dial("unix", handle)
	if err != nil {
		return "", fmt.Errorf("open the socket to gomirror: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(inletRead + askpassLimit))
	if _, err := io.WriteString(conn, prompt+"\n"); err != nil {
		return "", fmt.Errorf("ask gomirror: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 64<<10))
	return string(answer), err
}
