//go:build unix

package cmd

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestConfigNoFile has at the place of config.toml what a read could wait for.
func TestConfigNoFile(t *testing.T) {
	for _, test := range []struct {
		name string
		put  func(file string) error
	}{
		{"a pipe", func(file string) error { return syscall.Mkfifo(file, 0o600) }},
		{"a link to a pipe", func(file string) error {
			return errors.Join(syscall.Mkfifo(file+".pipe", 0o600), os.Symlink(file+".pipe", file))
		}},
		{"a folder", func(file string) error { return os.Mkdir(file, 0o700) }},
		{"a socket", func(file string) error {
			l, err := net.Listen("unix", file)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		}},
		{"a device", func(file string) error { return os.Symlink("/dev/zero", file) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "c d") // short, for the socket
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			file := filepath.Join(dir, "config.toml")
			if err := test.put(file); err != nil {
				t.Fatal(err)
			}
			read := make(chan error, 1)
			go func() {
				_, err := readConfigFile(file)
				read <- err
			}()
			select {
			case err = <-read:
			case <-time.After(10 * time.Second):
				t.Fatal("it waits")
			}
			var p *problem
			if !errors.As(err, &p) || !strings.Contains(err.Error(), file+" is no regular file") {
				t.Fatalf("got %v", err)
			}
			if want := "mv '" + file + "' '" + file + ".old'"; p.Hint() != want {
				t.Errorf("fix %s, want %s", p.Hint(), want)
			}
			if got := logTail(file); got != nil {
				t.Errorf("as a log: %q", got)
			}
		})
	}
}

func TestConfigFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	if _, err := readConfigFile(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of none: %v", err)
	}
	if err := os.WriteFile(file+".there", []byte("offline = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file+".there", file); err != nil {
		t.Fatal(err)
	}
	if values, err := readConfigFile(file); err != nil || values["offline"] != true {
		t.Errorf("of a link: %v, error %v", values, err)
	}
}
