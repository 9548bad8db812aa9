package cmd

import "testing"

// A start that would lose what is private is no advice.
func TestOnline(t *testing.T) {
	const plain, look = "gomirror stop; gomirror serve --background", "gomirror doctor --last"
	for _, tt := range []struct {
		origins map[string]string
		want    string
	}{
		{map[string]string{"offline": "--offline"}, plain},
		{map[string]string{"offline": "--offline", "listen": "--listen", "private": "config.toml"}, plain},
		{map[string]string{"offline": "--offline", "private": "--private"}, look},
		{map[string]string{"offline": "--offline", "cache.dir": "--cache-dir"}, look},
		{map[string]string{"offline": "config.toml"}, look},
		{map[string]string{"offline": "GOMIRROR_OFFLINE"}, look},
	} {
		if got := online(&settings{origins: tt.origins}); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.origins, got, tt.want)
		}
	}
}
