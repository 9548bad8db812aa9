package doctor_test

import (
	"testing"

	"github.com/gomirror/gomirror/serve/credential/keychaintest"
)

// TestWholeKeychain has a real keychain hold the token of a machine on which all is well,
// and then be locked, hang and be out of reach.
func TestWholeKeychain(t *testing.T) {
	t.Parallel()
	session := keychaintest.Start(t, keychaintest.Options{})
	w := newWhole(t, func(w *whole) {
		w.useSession(session)
		w.useToken()
		w.run("rm state/gomirror/credentials.json")
		w.login("")
	})
	for _, f := range []fault{
		{"well", func(*whole) {}, "", nil, false},
		{"hangs", func(*whole) { session.Pause() }, "A01 fail does not answer", nil, false},
		{"locked", func(*whole) { session.Resume(); session.Lock() }, "A01 fail the keychain is locked", nil, true},
		{"out of reach", func(w *whole) { w.vars["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=" + w.path("nobus") },
			"A01 fail no keychain can be reached from here -> gomirror auth login --owner acme --insecure-storage", nil, false},
	} {
		t.Run(f.name, func(t *testing.T) {
			w.machine.t = t
			f.set(w)
			var want []complaint
			if f.want != "" {
				want = append(want, wanted(f.want))
			}
			got, wrong := w.alarms(want, nil)
			switch {
			case len(got) != len(want) || len(wrong) > 0:
				t.Fatalf("got %v, want %q", got, f.want)
			case f.cure:
				session.Run(got[0].fix)
				if left, _ := w.alarms(nil, nil); len(left) > 0 {
					t.Errorf("after %s: %v", got[0].fix, left)
				}
			}
		})
		w.machine.t = t
	}
	w.machine.vars = w.well
	if got, _ := w.alarms(nil, nil); len(got) > 0 {
		t.Errorf("when all is mended: %v", got)
	}
}
