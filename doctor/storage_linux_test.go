package doctor

import (
	"testing"
	"unsafe"
)

// TestQuota is of the arithmetic alone: a file system with quotas needs a device.
func TestQuota(t *testing.T) {
	if got := unsafe.Sizeof(diskQuota{}); got != 72 {
		t.Errorf("struct if_dqblk: got %d bytes, want 72", got)
	}
	tests := []struct {
		name string
		q    diskQuota
		want uint64
	}{
		{"no limit", diskQuota{used: 1 << 40}, NoQuota},
		{"some left", diskQuota{blockHard: 1000, used: 24_000}, 1_000_000},
		{"none left", diskQuota{blockHard: 1000, used: 1_024_000}, 0},
		{"too much used", diskQuota{blockHard: 1000, used: 1 << 40}, 0},
	}
	for _, test := range tests {
		if got := test.q.left(); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
	if got := quotaAt("/proc"); got != NoQuota {
		t.Errorf("of /proc: got %d", got)
	}
}

// TestKinds has a local file system and one that is somewhere else.
func TestKinds(t *testing.T) {
	for magic, want := range map[uint64]bool{0x6969: true, 0xff534d42: true, 0x01021997: true, 0xef53: false, 0x01021994: false, 0x794c7630: false} {
		if kind, remote := kindOf(magic); remote != want || kind == "" {
			t.Errorf("%#x: got %q, %t", magic, kind, remote)
		}
	}
}
