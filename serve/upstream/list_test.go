package upstream_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/serve/upstream"
)

const (
	capability = "0123456789abcdef0123456789abcdef"
	ours       = "http://127.0.0.1:23456/t/" + capability
)

func TestParseList(t *testing.T) {
	tests := []struct {
		name, list, want string // want is entries, "|" behind those that fall back on error
	}{
		{"one", "https://a.example", "https://a.example"},
		{"comma and pipe", "https://a.example,https://b.example|direct", "https://a.example https://b.example| direct"},
		{"spaces and empty entries", " https://a.example , ,|off", "https://a.example off"},
		{"no scheme", "a.example/mod,localhost:3000", "https://a.example/mod https://localhost:3000"},
		{"direct ends it", "direct,https://a.example", "direct"},
		{"off ends it", "off|nonsense://", "off"},
		{"file", "file:///srv/mods,http://a.example", "file:///srv/mods http://a.example"},
		{"drive", "file:///C:/mods", "file:///C:/mods"},
		{"ours dropped", ours + "|https://a.example", "https://a.example"},
		{"ours without scheme", "127.0.0.1:1/t/" + capability + ",direct", "direct"},
		{"credentials hidden", "https://me:s3cret@a.example/x?token=s3cret", "https://a.example/x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			entries, err := upstream.ParseList(tt.list)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range entries {
				s := e.String()
				if e.FallBackOnError {
					s += "|"
				}
				got = append(got, s)
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("ParseList(%q) = %s, want %s", tt.list, got, tt.want)
			}
		})
	}
}

func TestParseListErrors(t *testing.T) {
	tests := []struct{ name, list, want string }{
		{"empty", "", "names no upstream"},
		{"separators only", " ,| ", "names no upstream"},
		{"ours only", ours + ",", "names no upstream"},
		{"unknown word", "https://a.example,nodirect", `"nodirect": want a URL, direct or off`},
		{"unknown scheme", "ftp://a.example", "unknown scheme"},
		{"Windows path", `C:\mods`, "parse upstream"},
		{"no host", "https:///mods", "no host"},
		{"file with host", "file://server/share", "want file:///FOLDER"},
		{"file without folder", "file://", "want file:///FOLDER"},
		{"password in the clear", "http://me:s3cret@a.example", "credentials need https"},
		{"password that breaks the URL", "https://me:s3cret%zz@a.example", `"https://a.example": not a URL`},
		{"password with a slash", "https://me:s3/cret@a.example", `"https://a.example": not a URL`},
		{"password with marks", "https://me:s3?cr#et@a.example", `"https://a.example": not a URL`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			entries, err := upstream.ParseList(tt.list)
			if err == nil {
				t.Fatalf("ParseList(%q) = %v, want an error", tt.list, entries)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %q, want it to contain %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "s3") || strings.Contains(err.Error(), "cret") {
				t.Errorf("error %q shows the password", err)
			}
		})
	}
}

func TestIsOurs(t *testing.T) {
	tests := []struct {
		entry string
		want  bool
	}{
		{ours, true},
		{" " + ours + "/ ", true},
		{"http://localhost:1/t/" + capability, true},
		{"https://LOCALHOST./t/" + capability + "/github.com", true},
		{"http://[::1]:20000/t/" + capability, true},
		{"http://[::ffff:127.0.0.1]:20000/t/" + capability, true},
		{"http://127.8.9.10:20000/t/" + capability, true},
		{"127.0.0.1:20000/t/" + capability, true},
		{"http://u:p@127.0.0.1:20000/t/" + capability, true},
		{"http://127.0.0.1:20000", false},
		{"http://127.0.0.1:20000/t/" + capability + "0", false},
		{"http://127.0.0.1:20000/t/" + strings.ToUpper(capability), false},
		{"http://127.0.0.1:20000/x/t/" + capability, false},
		{"http://10.0.0.1:20000/t/" + capability, false},
		{"http://notlocalhost/t/" + capability, false},
		{"direct", false},
		{"off", false},
		{"", false},
		{"http://127.0.0.1:bad/t/" + capability, false},
	}
	for _, tt := range tests {
		if got := upstream.IsOurs(tt.entry); got != tt.want {
			t.Errorf("IsOurs(%q) = %v, want %v", tt.entry, got, tt.want)
		}
	}
}

func TestStrip(t *testing.T) {
	tests := []struct{ name, list, want string }{
		{"nothing ours, byte for byte", " https://a.example ,,|direct ", " https://a.example ,,|direct "},
		{"empty", "", ""},
		{"first", ours + "|https://a.example,direct", "https://a.example,direct"},
		{"middle: the entry before keeps its separator", "https://a.example," + ours + "|direct", "https://a.example,direct"},
		{"middle, pipe before", "https://a.example|" + ours + ",direct", "https://a.example|direct"},
		{"last", "https://a.example|" + ours, "https://a.example"},
		{"several", ours + "," + ours + "|direct," + ours, "direct"},
		{"all", ours + "|" + ours, ""},
		{"all and empty ones", "," + ours + "| ", ""},
		{"behind direct", "direct," + ours, "direct"},
		{"credentials kept", ours + ",https://me:pw@a.example", "https://me:pw@a.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := upstream.Strip(tt.list); got != tt.want {
				t.Errorf("Strip(%q) = %q, want %q", tt.list, got, tt.want)
			}
		})
	}
}

func FuzzList(f *testing.F) {
	for _, seed := range []string{"", ",", "https://a.example,direct", ours + "|off", "https://u:p@h/,file:///x", "a.b|c:d,e/f", "%zz://@?#"} {
		f.Add(seed)
		f.Add(ours + "," + seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		stripped := upstream.Strip(list)
		if again := upstream.Strip(stripped); again != stripped {
			t.Errorf("Strip(%q) = %q, and of that %q", list, stripped, again)
		}
		for _, word := range strings.FieldsFunc(stripped, func(r rune) bool { return r == ',' || r == '|' }) {
			if upstream.IsOurs(word) {
				t.Errorf("Strip(%q) = %q, which has our %q", list, stripped, word)
			}
		}
		entries, err := upstream.ParseList(list)
		if err != nil {
			return
		}
		for _, e := range entries {
			if upstream.IsOurs(e.URL) {
				t.Errorf("ParseList(%q) has our %q", list, e.URL)
			}
			u, err := url.Parse(e.URL)
			if err == nil && u.User != nil && strings.Contains(e.String(), u.User.String()+"@"+u.Host) {
				t.Errorf("entry %q shows credentials: %q", e.URL, e)
			}
		}
		if _, err := upstream.NewChain(upstream.ChainOptions{Entries: entries}); err != nil {
			t.Errorf("NewChain of %v: %v", entries, err)
		}
		// What go reads from the stripped list is what it read before, less ours.
		same, err := upstream.ParseList(stripped)
		if err != nil || len(same) != len(entries) {
			t.Fatalf("ParseList(%q) = %v, %v; of the list before Strip %v", stripped, same, err, entries)
		}
		for i := range same {
			if same[i].URL != entries[i].URL {
				t.Errorf("entry %d of %q is %q, was %q", i, stripped, same[i].URL, entries[i].URL)
			}
		}
	})
}
