package doctor

// daemonChecks look at the sidecar.
func daemonChecks(o Options) []Check {
	return nil
}
