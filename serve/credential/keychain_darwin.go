package credential

import (
	"errors"
	"os/exec"
)

const (
	unlockCommand  = "security unlock-keychain"
	restartCommand = "security unlock-keychain" // what hangs is a dialogue that asks for this
)

// ready has nothing to tell: the security command answers at once, or asks the user.
func ready(bool) error { return nil }

// systemKind reads the exit status of the security command, which is the low byte of
// an OSStatus (Security/SecBase.h).
func systemKind(err error) (Kind, bool) {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return Absent, errors.Is(err, exec.ErrNotFound)
	}
	switch exit.ExitCode() {
	case 36: // errSecInteractionNotAllowed, -25308: locked, and no dialogue is possible
		return Locked, true
	case 49, 50, 53: // errSecInvalidKeychain, errSecNoSuchKeychain, errSecNotAvailable
		return Absent, true
	case 51, 128: // errSecAuthFailed, errSecUserCanceled
		return Denied, true
	}
	return 0, false
}
