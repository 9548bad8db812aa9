package proxytest

import (
	"net"
	"runtime"
	"testing"
)

func TestClosedPort(t *testing.T) {
	addr := ClosedPort(t)
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("a closed port takes a connection")
	}
	if runtime.GOOS != "linux" {
		return
	}
	ln, err := net.Listen("tcp", addr) // as who starts again where it was
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("it takes a connection once it was open again")
	}
}
