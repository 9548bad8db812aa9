package doctor

// cacheChecks look at what the cache holds.
func cacheChecks(o Options) []Check {
	return nil
}
