//go:build unix

package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve/proxytest"
)

// held returns a file of the cache.
func (m *machine) held(name string) string {
	return filepath.Join(m.cacheDir(), "download", "example.com", "quote", "@v", name)
}

// TestChangedFiles changes what is held, as a bad disk does, and has it come again.
func TestChangedFiles(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	tests := []struct {
		name   string
		file   string
		change func(text []byte) []byte
		detail string
	}{
		{"a bit of a zip", "v1.5.2.zip", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, "zip"},
		{"a cut zip", "v1.5.2.zip", func(b []byte) []byte { return b[:len(b)/2] }, "no whole zip"},
		{"an empty zip", "v1.5.2.zip", func(b []byte) []byte { return nil }, "no whole zip"},
		{"a note of another zip", "v1.5.2.ziphash", func([]byte) []byte {
			return []byte("h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
		}, "and the zip beside it hashes to"},
		{"a line more in a go.mod", "v1.5.2.mod", func(b []byte) []byte { return append(b, "\n// x\n"...) }, "came in"},
		{"an info of NULs", "v1.5.2.info", func(b []byte) []byte { return make([]byte, len(b)) }, "not the .info of v1.5.2"},
		{"an info of another version", "v1.5.2.info", func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "v1.5.2", "v1.5.3", 1))
		}, "not the .info of v1.5.2"},
	}
	for _, test := range tests {
		t.Log(test.name)
		good, err := os.ReadFile(m.held(test.file))
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if err := os.WriteFile(m.held(test.file), test.change([]byte(string(good))), 0o600); err != nil {
			t.Fatal(err)
		}
		reports := m.diagnose("C01 fail")
		if got := strings.Join(reports["C01"].Findings[0].Detail, "\n"); !strings.Contains(got, test.detail) || !strings.Contains(got, m.held(test.file)) {
			t.Errorf("%s: got the details %q, want %q", test.name, got, test.detail)
		}
		m.cure("C01", doctor.Fail, "changed on the disk", "rm "+m.held(test.file))
		m.run(`chmod -R u+w gopath; rm -rf gopath; eval "$(gomirror env --fallback off)"; go mod download example.com/quote@v1.5.2; go list -m -json example.com/quote@v1.5.2`)
		if strings.HasSuffix(test.file, "hash") { // computed again by the next process that needs it
			m.write(m.held(test.file), string(good), 0o600)
		}
		m.await(func() bool { // a .mod or an .info is kept once it was answered
			again, err := os.ReadFile(m.held(test.file))
			return err == nil && string(again) == string(good)
		})
	}
}

// TestQuarantine has an upstream contradict the database.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	m.upstream.Fault("v3.0.0.mod", proxytest.Fault{Kind: proxytest.Append, Arg: "\n// more\n"})
	m.tryRun(`eval "$(gomirror env --fallback off)"; go mod download example.com/quote/v3@v3.0.0`)
	m.cure("C01", doctor.Warn, "set aside: 1 answer", "rm -r "+filepath.Join(m.cacheDir(), "quarantine"))
}

// TestLeftovers has a process leave a draft behind that nobody holds.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	left := filepath.Join(m.cacheDir(), "drafts", "1-1")
	m.write(filepath.Join(left, "lock"), "", 0o600)
	m.write(filepath.Join(left, "1"), strings.Repeat("x", 3<<20), 0o600)
	m.diagnose("C01 ok") // it may be about to take the lock
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(left, old, old); err != nil {
		t.Fatal(err)
	}
	m.cure("C01", doctor.Warn, "processes that are gone left 3 MB in the cache", "gomirror stop; gomirror serve --background")
	if _, err := os.Stat(left); err == nil {
		t.Error("the next start did not remove it")
	}
}
