//go:build unix

package upstream

// rootFiles are where systems keep all roots in one file, first found wins: the
// list that crypto/x509 has for Linux and the BSDs. The last is also macOS's, whose
// git reads it; go asks the keychain there.
func rootFiles() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt",                // Debian, Arch, Gentoo
		"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora
		"/etc/ssl/ca-bundle.pem",                            // openSUSE
		"/etc/pki/tls/cacert.pem",                           // OpenELEC
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // CentOS, RHEL 7
		"/usr/local/etc/ssl/cert.pem",                       // FreeBSD
		"/usr/local/share/certs/ca-root-nss.crt",            // DragonFly
		"/etc/openssl/certs/ca-certificates.crt",            // NetBSD
		"/etc/ssl/cert.pem",                                 // Alpine, OpenBSD, macOS
	}
}

// rootFolders are where systems keep one file a root.
func rootFolders() []string {
	return []string{"/etc/ssl/certs", "/etc/pki/tls/certs", "/usr/local/share/certs", "/etc/openssl/certs"}
}
