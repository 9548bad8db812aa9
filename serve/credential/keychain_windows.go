package credential

import (
	"errors"

	"golang.org/x/sys/windows"
)

// VaultSvc is the Credential Manager's service. It is never locked while its user is
// logged in.
const (
	unlockCommand  = restartCommand
	restartCommand = "powershell Restart-Service VaultSvc"
)

// ready has nothing to tell: the Credential Manager opens no dialogue.
func ready(bool) error { return nil }

// systemKind reads the errors of CredRead and CredWrite.
func systemKind(err error) (Kind, bool) {
	switch {
	case errors.Is(err, windows.ERROR_NO_SUCH_LOGON_SESSION), errors.Is(err, windows.ERROR_SERVICE_DISABLED),
		errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE):
		return Absent, true
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return Denied, true
	case errors.Is(err, windows.RPC_X_BAD_STUB_DATA): // what it says to a blob over its limit
		return TooBig, true
	}
	return 0, false
}
