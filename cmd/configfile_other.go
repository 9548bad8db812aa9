//go:build !unix

package cmd

// nonBlocking is nothing where a pipe is no file.
const nonBlocking = 0
