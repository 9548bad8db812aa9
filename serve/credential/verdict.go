package credential

import (
	"errors"

	"github.com/zalando/go-keyring"
)

// String says it in half a sentence.
func (k Kind) String() string {
	switch k {
	case Locked:
		return "the keychain is locked"
	case Absent:
		return "no keychain can be reached from here"
	case Denied:
		return "the keychain refused it"
	case TooBig:
		return "that is too long for a keychain"
	case Garbage:
		return "that is no token"
	default:
		return "the keychain does not answer; it may be waiting for a click"
	}
}

// Hint returns the command that mends it.
func (e *KeychainError) Hint() string {
	switch e.Kind {
	case Locked:
		return unlockCommand
	case Absent:
		return e.Place.login() + " --insecure-storage"
	case Hanging:
		return restartCommand
	default: // the item is to be made anew
		return e.Place.login()
	}
}

// kindOf reads the fault out of an error. What it does not know is a refusal: the
// keychain is there and has answered.
func kindOf(err error) Kind {
	switch {
	case errors.Is(err, keyring.ErrSetDataTooBig), errors.Is(err, errTooBig):
		return TooBig
	case errors.Is(err, errGarbage):
		return Garbage
	case errors.Is(err, keyring.ErrUnsupportedPlatform):
		return Absent
	}
	if kind, ok := systemKind(err); ok {
		return kind
	}
	return Denied
}
