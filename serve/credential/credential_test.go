package credential_test

import "time"

// canary is a token that must not turn up anywhere.
const canary = "ghp_CANARYcanary0123456789abcdefghijklmn"

// faultLimit is how long a fault of a keychain may take to be told.
const faultLimit = 6 * time.Second
