package upstream

// Windows keeps its roots in the registry: go reads them there, and so does a git
// that is set to schannel.
func rootFiles() []string   { return nil }
func rootFolders() []string { return nil }
