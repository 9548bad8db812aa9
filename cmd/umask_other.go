//go:build !unix

package cmd

// keepPrivate has nothing to do: files inherit who may read them from the user's
// own folders.
func keepPrivate() {}
