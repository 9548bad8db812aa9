package doctor

// authChecks look at tokens and the keychain.
func authChecks(o Options) []Check {
	return nil
}
