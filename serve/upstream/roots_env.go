package upstream

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
)

// SystemRoots returns the certificate authorities that a process trusts whose
// SSL_CERT_FILE and SSL_CERT_DIR are these, as crypto/x509 reads them on Linux and the
// BSDs: once a process, so that it can't be asked what another one trusts.
func SystemRoots(file, dir string) *x509.CertPool {
	pool := x509.NewCertPool()
	add := func(name string) bool {
		text, err := os.ReadFile(name)
		return err == nil && pool.AppendCertsFromPEM(text)
	}
	files, dirs := rootFiles(), rootFolders()
	if file != "" {
		files = []string{file}
	}
	if dir != "" {
		dirs = strings.Split(dir, string(os.PathListSeparator))
	}
	for _, name := range files {
		if add(name) {
			break
		}
	}
	for _, folder := range dirs {
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue // most systems have one of them
		}
		for _, entry := range entries {
			add(filepath.Join(folder, entry.Name()))
		}
	}
	return pool
}
