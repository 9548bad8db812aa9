//go:build linux

package upstream

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/gomirror/gomirror/serve/githosttest"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
)

// future is a module proxy with a checksum database and one toolchain: the installed
// go command, renamed to a version that is to come.
type future struct {
	version string // "1.99.9"
	proxy   string // its GOPROXY
	gosumdb string // its database's verifier key

	mu   sync.Mutex
	seen []string
}

// newFuture starts the proxy. The database vouches for hash if it is not "", else for
// what is served.
func newFuture(t *testing.T, hash string) *future {
	t.Helper()
	out, err := exec.Command(tool(t, "go"), "env", "GOVERSION", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	installed, goroot, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	// As long as the installed one's, so that it fits into the binary.
	version := "go1." + regexp.MustCompile(`[0-9]`).ReplaceAllString(strings.TrimPrefix(installed, "go1."), "9")
	binary, err := os.ReadFile(filepath.Join(goroot, "bin", "go"))
	if err != nil {
		t.Fatal(err)
	}
	binary = bytes.ReplaceAll(binary, []byte(installed), []byte(version))

	modVersion := "v0.0.1-" + version + "." + runtime.GOOS + "-" + runtime.GOARCH
	var body bytes.Buffer
	w := zip.NewWriter(&body)
	for name, content := range map[string][]byte{"bin/go": binary, "bin/gofmt": nil, "pkg/tool/x": nil, "lib/x": nil, "VERSION": []byte(version + "\n")} {
		f, err := w.CreateHeader(&zip.FileHeader{Name: toolchainPath + "@" + modVersion + "/" + name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if hash == "" {
		hash = h1(t, body.String())
	}

	skey, vkey, err := note.GenerateKey(rand.Reader, "sum.example.com")
	if err != nil {
		t.Fatal(err)
	}
	database := sumdb.NewServer(sumdb.NewTestServer(skey, func(path, version string) ([]byte, error) {
		return []byte(path + " " + version + " " + hash + "\n"), nil
	}))
	f := &future{version: strings.TrimPrefix(version, "go"), gosumdb: vkey}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, r.URL.Path)
		f.mu.Unlock()
		switch {
		case r.URL.Path == "/sumdb/sum.example.com/supported":
		case strings.HasPrefix(r.URL.Path, "/sumdb/sum.example.com/"):
			http.StripPrefix("/sumdb/sum.example.com", database).ServeHTTP(w, r)
		case r.URL.Path == "/"+toolchainPath+"/@v/"+modVersion+".zip":
			_, _ = w.Write(body.Bytes())
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	f.proxy = server.URL
	return f
}

// asked returns the requests whose path has part in it.
func (f *future) asked(part string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []string
	for _, path := range f.seen {
		if strings.Contains(path, part) {
			found = append(found, path)
		}
	}
	return found
}

func TestDirectNewerGo(t *testing.T) {
	t.Parallel()
	good := newFuture(t, "")
	forged := newFuture(t, "h1:"+strings.Repeat("A", 43)+"=")
	host := githosttest.New(t)
	repo := host.Repo(t, "github.com/acme/newer", map[string]string{
		"go.mod": "module github.com/acme/newer\n\ngo " + good.version + "\n", "n.go": "package newer\n",
	}, "v1.0.0")
	repo.Commit(t, map[string]string{"go.mod": "module github.com/acme/newer\n\ngo 1.99.77\n"}, "v1.1.0")
	through := func(f *future) func() (string, string) {
		return func() (string, string) { return f.proxy, f.gosumdb }
	}
	tests := []struct {
		name, key string
		change    func(*DirectOptions)
		want      string // "" for no error
	}{
		{".info needs no newer go", "v1.0.0.info", nil, ""},
		{".mod needs no newer go", "v1.0.0.mod", nil, ""},
		{"can't switch", "v1.0.0.zip", nil, "it needs go " + good.version + ", this machine has go 1."},
		{"switches", "v1.0.0.zip", func(o *DirectOptions) { o.Switch = through(good) }, ""},
		{"no such go", "v1.1.0.zip", func(o *DirectOptions) { o.Switch = through(good) }, "it needs go 1.99.77, this machine has go 1."},
		{"forged", "v1.0.0.zip", func(o *DirectOptions) { o.Switch = through(forged) }, "checksum mismatch"},
		{"database off", "v1.0.0.zip", func(o *DirectOptions) {
			o.Switch = func() (string, string) { return good.proxy, "off" }
		}, "GOSUMDB=off"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newTestDirect(t, host, tt.change)
			var b basket
			err := d.Fetch(t.Context(), Request{Key: directKey(t, "github.com/acme/newer/@v/"+tt.key)}, b.sink)
			if tt.want == "" {
				if err != nil || b.bodies["github.com/acme/newer/@v/"+tt.key] == "" {
					t.Fatalf("got %v and %v, want the file", b.names(), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v, want %q in it, and not that the module is missing", err, tt.want)
			}
			if strings.Contains(err.Error(), good.proxy) || strings.Contains(err.Error(), forged.proxy) {
				t.Errorf("got %v, want our own address left out", err)
			}
			var hint interface{ Hint() string }
			if !errors.As(err, &hint) || !strings.HasPrefix(hint.Hint(), "install go 1.99") {
				t.Errorf("got %v, want a hint to install a newer go", err)
			}
		})
	}
	if len(good.asked("/sumdb/sum.example.com/lookup/golang.org/toolchain@")) == 0 {
		t.Error("the toolchain was not looked up in the checksum database")
	}
	if got := len(good.asked(".zip")); got == 0 {
		t.Error("the toolchain was not fetched through gomirror")
	}
}
