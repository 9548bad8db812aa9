package doctor

// storageChecks look at the folders.
func storageChecks(o Options) []Check {
	return nil
}
