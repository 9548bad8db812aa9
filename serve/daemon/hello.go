package daemon

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Proof is what a listener proved to be.
type Proof string

// The outcomes of [Prove].
const (
	Ours    Proof = "ours"    // the sidecar of this state folder
	Foreign Proof = "foreign" // something else: it must not see the capability
	Closed  Proof = "closed"  // nobody listens
)

// proveTime is the limit of one proof. A listener on loopback that takes longer is
// none of ours, or as good as down.
const proveTime = 2 * time.Second

// Hello returns the answer to the challenges of [Prove], for a sidecar on port. It
// makes the key at the first start. The caller holds the lock.
func Hello(stateDir string, port int) (func(nonce string) string, error) {
	key, err := savedHello(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = newSecret(stateDir, helloFile, helloBytes)
	}
	if err != nil {
		return nil, err
	}
	return func(nonce string) string { return hello(key, nonce, port) }, nil
}

func savedHello(stateDir string) (string, error) {
	return savedSecret(stateDir, helloFile, helloBytes, "gomirror stop; rm "+filepath.Join(stateDir, helloFile))
}

// hello binds the answer to the port: else a squatter could pass our challenge on to
// the sidecar on its new port and hand us the answer.
func hello(key, nonce string, port int) string {
	raw, _ := hex.DecodeString(key) // checked when read
	mac := hmac.New(sha256.New, raw)
	io.WriteString(mac, nonce+"|"+strconv.Itoa(port)) // a hash never fails
	return hex.EncodeToString(mac.Sum(nil))
}

// Prove asks the listener at addr, a host:port, to prove that it is the sidecar of
// stateDir. It sends a random number and nothing else, and writes nothing. The error
// says why the question could not be asked.
func Prove(ctx context.Context, stateDir, addr string) (Proof, error) {
	_, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("prove %s: %w", addr, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return "", fmt.Errorf("prove %s: %w", addr, err)
	}
	key, err := savedHello(stateDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, proveTime)
	defer cancel()
	nonce := make([]byte, 32)
	rand.Read(nonce) // never fails
	n := hex.EncodeToString(nonce)
	answer, err := askHello(ctx, "http://"+addr+"/-/hello?n="+n)
	switch {
	case refused(err):
		return Closed, nil
	case err != nil && ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", fmt.Errorf("prove %s: %w", addr, ctx.Err())
	case err != nil || key == "" || !hmac.Equal([]byte(answer), []byte(hello(key, n, port))):
		return Foreign, nil
	}
	return Ours, nil
}

func askHello(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true} // and no HTTP_PROXY
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 2*sha256.Size+2))
	return strings.TrimSpace(string(body)), err
}

// The names of Windows for what syscall calls ECONNREFUSED and EADDRINUSE, which
// have made-up values there. No other system has these numbers.
const (
	wsaRefused = syscall.Errno(10061)
	wsaInUse   = syscall.Errno(10048)
)

func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, wsaRefused)
}
