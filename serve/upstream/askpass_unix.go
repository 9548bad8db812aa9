//go:build unix

package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
)

// inletFD is the number under which a child inherits its end: nothing on the way from
// the go command over git to the askpass closes it.
const inletFD = 3

// inlet is the daemon's end of the pipe that a child inherits. Each askpass sends its
// question with the write end of a pipe of its own, so that no two get each other's
// answer. There is no name by which another process could come to it.
type inlet struct {
	conn   *net.UnixConn
	theirs *os.File
}

func newInlet(string) (*inlet, error) {
	syscall.ForkLock.RLock() // else a child that starts just now inherits both
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("open a pipe for git's questions: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "askpass")
	conn, err := unixConn(fds[0])
	if err != nil {
		_ = theirs.Close()
		return nil, fmt.Errorf("open a pipe for git's questions: %w", err)
	}
	return &inlet{conn, theirs}, nil
}

// unixConn takes fd over.
func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "askpass")
	if f == nil {
		return nil, os.ErrInvalid
	}
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("not a unix socket")
	}
	return unix, nil
}

// handle is what the environment of the child says.
func (*inlet) handle() string { return strconv.Itoa(inletFD) }

// files are what the child inherits.
func (i *inlet) files() []*os.File { return []*os.File{i.theirs} }

// started closes what the child has now.
func (i *inlet) started() { _ = i.theirs.Close() }

func (i *inlet) close() {
	_ = i.theirs.Close()
	_ = i.conn.Close()
}

// next waits for a question. An error is the end.
func (i *inlet) next() (question, error) {
	prompt, rights := make([]byte, askpassPrompt+1), make([]byte, syscall.CmsgSpace(4*4))
	for {
		n, oobn, flags, _, err := i.conn.ReadMsgUnix(prompt, rights)
		if err != nil {
			return question{}, err
		}
		reply := replyPipe(rights[:oobn])
		switch {
		case reply == nil:
		case n > askpassPrompt, flags&(syscall.MSG_TRUNC|syscall.MSG_CTRUNC) != 0:
			_ = reply.Close()
		default:
			return question{string(prompt[:n]), reply}, nil
		}
	}
}

// replyPipe takes the one pipe out of what came with a question, and closes all else.
func replyPipe(rights []byte) *os.File {
	messages, err := syscall.ParseSocketControlMessage(rights)
	if err != nil {
		return nil
	}
	var fds []int
	for _, message := range messages {
		got, err := syscall.ParseUnixRights(&message)
		if err == nil {
			fds = append(fds, got...)
		}
	}
	var stat syscall.Stat_t
	if len(fds) == 1 && syscall.Fstat(fds[0], &stat) == nil && uint32(stat.Mode)&syscall.S_IFMT == syscall.S_IFIFO {
		return os.NewFile(uintptr(fds[0]), "reply")
	}
	for _, fd := range fds {
		_ = syscall.Close(fd)
	}
	return nil
}

// ask sends the question with the write end of a pipe, and reads what comes out of
// the pipe until the daemon closes it.
func ask(handle, prompt string) (string, error) {
	fd, err := strconv.Atoi(handle)
	if err != nil || fd != inletFD {
		return "", errors.New("no pipe to gomirror")
	}
	conn, err := unixConn(fd)
	if err != nil {
		return "", fmt.Errorf("open the pipe to gomirror: %w", err)
	}
	defer conn.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	_, _, err = conn.WriteMsgUnix([]byte(prompt), syscall.UnixRights(int(w.Fd())), nil)
	_ = w.Close() // the daemon's is the last: its end is the answer's
	if err != nil {
		return "", fmt.Errorf("ask gomirror: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(r, 64<<10))
	return string(answer), err
}
