//go:build unix

package credential_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gomirror/gomirror/serve/credential"
)

// TestModes writes all there is to write under the umask that hides nothing.
func TestModes(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	state := filepath.Join(t.TempDir(), "a", "state")
	store := credential.New(credential.Options{StateDir: state, Keychain: newChain().keychain()})
	put(t, store, acme, true)
	put(t, store, office, false)
	found := 0
	err := filepath.WalkDir(filepath.Dir(state), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		found++
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil || found != 5 { // two folders, the index, the tokens, the lock
		t.Errorf("got %d files and folders, %v, want 5", found, err)
	}
}

// TestOthersFiles has the files of the state folder readable for others, or put there
// by them.
func TestOthersFiles(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(path string) error // the file of the tokens, or the index
		err   string
		hint  string // with PATH for the path
	}{
		{"group may read", func(path string) error { return os.Chmod(path, 0o640) }, "others may read or write it (mode 0640)", "chmod 600 PATH"},
		{"others may write", func(path string) error { return os.Chmod(path, 0o602) }, "others may read or write it (mode 0602)", "chmod 600 PATH"},
		{"a link", func(path string) error {
			if err := os.Rename(path, path+".moved"); err != nil {
				return err
			}
			return os.Symlink(path+".moved", path)
		}, "too many levels of symbolic links", ""},
		{"a pipe", func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return syscall.Mkfifo(path, 0o600)
		}, "not a file", "rm PATH"},
		{"a folder", func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o700)
		}, "not a file", "rm PATH"},
		{"of another user", func(path string) error { return os.Chown(path, 65534, -1) }, "it belongs to uid 65534", "run gomirror as its owner, without sudo"},
		{"something else", func(path string) error { return os.WriteFile(path, []byte("x "+canary), 0o600) }, "not what gomirror wrote there", "rm PATH"},
		{"too large", func(path string) error { return os.WriteFile(path, make([]byte, 1<<20+1), 0o600) }, "larger than", ""},
	}
	for _, name := range []string{"credentials.json", "tokens.json"} {
		for _, test := range tests {
			t.Run(name+" "+test.name, func(t *testing.T) {
				if test.name == "of another user" && os.Geteuid() != 0 {
					t.Log("only root can give a file away")
					return
				}
				state := t.TempDir()
				store := credential.New(credential.Options{StateDir: state, Keychain: newChain().keychain()})
				put(t, store, acme, true)
				path := filepath.Join(state, name)
				if err := test.spoil(path); err != nil {
					t.Fatal(err)
				}
				_, err := store.Token(t.Context(), "github.com", "acme")
				if err == nil || !strings.Contains(err.Error(), test.err) || leaks(err.Error()) {
					t.Errorf("got %v, want %q", err, test.err)
				}
				var hinted interface{ Hint() string }
				if want := strings.ReplaceAll(test.hint, "PATH", path); want != "" && (!errors.As(err, &hinted) || hinted.Hint() != want) {
					t.Errorf("got %v, want the hint %q", hinted, want)
				}
			})
		}
	}
}

func TestOthersFolder(t *testing.T) {
	tests := []struct {
		name string
		mode fs.FileMode
		err  string // "" for none, and a folder that is closed
	}{
		{"readable", 0o755, ""},
		{"writable for the group", 0o770, "can be written by others (mode 0770)"},
		{"writable for all", 0o777, "can be written by others (mode 0777)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			state := t.TempDir()
			if err := os.Chmod(state, test.mode); err != nil {
				t.Fatal(err)
			}
			store := credential.New(credential.Options{StateDir: state, Keychain: newChain().keychain()})
			err := store.Put(t.Context(), acme, "octocat", credential.NewSecret(canary), true)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v, want %q", err, test.err)
			}
			info, statErr := os.Stat(state)
			if statErr != nil {
				t.Fatal(statErr)
			}
			if err == nil && info.Mode().Perm() != 0o700 {
				t.Errorf("the folder has mode %04o", info.Mode().Perm())
			}
			if files := filesWith(t, state, canary); err != nil && len(files) > 0 {
				t.Errorf("the token is in %q", files)
			}
		})
	}
}
