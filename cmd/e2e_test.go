package cmd

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gomirror/gomirror/serve/upstream"
)

// TestEndToEnd pulls a real project from the upstream that go env names on this
// machine. It is the one test that needs a network, so it has to be asked for:
//
//	GOMIRROR_E2E=1 go test ./cmd -run EndToEnd
func TestEndToEnd(t *testing.T) {
	if os.Getenv("GOMIRROR_E2E") == "" {
		t.Skip("set GOMIRROR_E2E=1 to pull a real project")
	}
	names := []string{"GOPROXY", "GOSUMDB", "GONOSUMDB"}
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	values := strings.Split(string(out), "\n")
	needReachable(t, values[0])
	p := scriptParams(t, "testdata/e2e")
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		for i, name := range names {
			e.Setenv(name, values[i])
		}
		// Where a machine reaches its upstream through an HTTP proxy or by a CA of its
		// own, so does gomirror.
		for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
			if v, ok := os.LookupEnv(name); ok {
				e.Setenv(name, v)
			}
		}
		return setup(e)
	}
	testscript.Run(t, p)
}

// needReachable skips the test where nothing answers at the first proxy of the list.
// Any status is an answer: an upstream that refuses is no reason to pass.
func needReachable(t *testing.T, goproxy string) {
	t.Helper()
	entries, err := upstream.ParseList(goproxy)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) == 0 || !strings.HasPrefix(entries[0].URL, "http") {
		t.Skipf("GOPROXY=%s names no upstream that can be asked", goproxy)
	}
	client := &http.Client{Timeout: time.Minute}
	resp, err := client.Get(entries[0].URL + "/golang.org/x/mod/@v/list")
	if err != nil {
		t.Skipf("the upstream of this machine can't be reached: %v", err)
	}
	resp.Body.Close()
}
