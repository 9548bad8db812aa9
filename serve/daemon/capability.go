package daemon

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	capabilityBytes = 16 // 128 bits: not to be guessed, and short enough for a URL
	helloBytes      = 32 // a SHA-256 block's worth
)

// Capability returns the secret that request paths begin with, made at the first
// start and kept, for shells have it in their environment. It is made anew if rotate
// says so, or if somebody else was seen on our port since. The caller holds the lock.
func Capability(stateDir string, rotate bool) (string, error) {
	if rotate || seenForeign(stateDir) {
		capability, err := newSecret(stateDir, capabilityFile, capabilityBytes)
		if err != nil {
			return "", err
		}
		if err := os.Remove(filepath.Join(stateDir, foreignFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("rotate the capability: %w", err)
		}
		return capability, nil
	}
	capability, err := savedCapability(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return newSecret(stateDir, capabilityFile, capabilityBytes)
	}
	return capability, err
}

// savedCapability reads the capability. A file that holds something else is left as
// it is.
func savedCapability(stateDir string) (string, error) {
	return savedSecret(stateDir, capabilityFile, capabilityBytes, "gomirror serve --rotate-url")
}

func savedSecret(stateDir, name string, size int, hint string) (string, error) {
	secret, err := load(stateDir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	path := filepath.Join(stateDir, name)
	if raw, hexErr := hex.DecodeString(secret); err == nil && (hexErr != nil || hex.EncodeToString(raw) != secret || len(raw) != size) {
		err = fmt.Errorf("want %d lower-case hex digits", 2*size) // the content stays out of the error
	}
	if err != nil {
		return "", &hinted{fmt.Errorf("read %s: %w", path, err), hint}
	}
	return secret, nil
}

func newSecret(stateDir, name string, size int) (string, error) {
	raw := make([]byte, size)
	rand.Read(raw) // never fails
	secret := hex.EncodeToString(raw)
	return secret, save(stateDir, name, secret)
}
