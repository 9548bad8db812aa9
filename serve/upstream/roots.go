package upstream

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// RootsFile writes one PEM file below outDir that holds the system's certificate
// authorities and those of extraCAFile ("" for none), and returns its name: go and
// git each replace their own roots by the one file they are given. systemFiles are
// looked at before the system's usual places; cmd gives SSL_CERT_FILE. Where the
// system keeps its roots in no file (Windows) and nothing is to be added, the name
// is "", and the tools find the roots themselves.
func RootsFile(extraCAFile, outDir string, systemFiles ...string) (string, error) {
	system, err := systemRoots(systemFiles)
	if err != nil {
		return "", err
	}
	if extraCAFile == "" && len(system) == 0 {
		return "", nil
	}
	var extra []byte
	if extraCAFile != "" {
		if extra, err = os.ReadFile(extraCAFile); err != nil {
			return "", fmt.Errorf("read the extra certificate authorities: %w", err)
		}
		if n := certificates(extra); n == 0 {
			return "", fmt.Errorf("read the extra certificate authorities: %s has no PEM certificate", extraCAFile)
		}
		if len(system) == 0 {
			return "", fmt.Errorf("add %s to the system's certificate authorities: found none to add it to", extraCAFile)
		}
	}
	name := filepath.Join(outDir, "roots.pem")
	draft, err := os.CreateTemp(outDir, "roots-*") // 0600
	if err != nil {
		return "", fmt.Errorf("write the certificate authorities: %w", err)
	}
	defer os.Remove(draft.Name())
	_, err = draft.Write(bytes.Join([][]byte{system, extra}, []byte("\n")))
	if err = errors.Join(err, draft.Close()); err == nil {
		err = os.Rename(draft.Name(), name)
	}
	if err != nil {
		return "", fmt.Errorf("write the certificate authorities: %w", err)
	}
	return name, nil
}

// systemRoots returns the first file of roots that there is, or what the folders of
// roots hold, as crypto/x509 does.
func systemRoots(first []string) ([]byte, error) {
	for _, name := range slices.Concat(first, rootFiles()) {
		if name == "" {
			continue
		}
		roots, err := os.ReadFile(name)
		switch {
		case err == nil && certificates(roots) > 0:
			return roots, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("read the system's certificate authorities: %w", err)
		}
	}
	for _, dir := range rootFolders() {
		var all []byte
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			roots, err := os.ReadFile(filepath.Join(dir, entry.Name()))
			if err == nil && certificates(roots) > 0 {
				all = append(append(all, roots...), '\n')
			}
		}
		if len(all) > 0 {
			return all, nil
		}
	}
	return nil, nil
}

// certificates counts the readable certificates in a PEM text.
func certificates(text []byte) int {
	n := 0
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return n
		}
		if block.Type == "CERTIFICATE" {
			if _, err := x509.ParseCertificate(block.Bytes); err == nil {
				n++
			}
		}
		text = rest
	}
}
