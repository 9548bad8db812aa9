//go:build unix && !linux && !darwin

package doctor

import "errors"

// spaceAt is not written for the other systems: each has a statfs of its own.
func spaceAt(string) (Space, error) { return Space{}, errors.ErrUnsupported }

func openLimit(int) (limit uint64, known bool) { return 0, false }
