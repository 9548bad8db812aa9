package cmd

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEditConfig(t *testing.T) {
	tests := []struct {
		name, text, key, literal string
		want                     string // "" means refused
	}{
		{"empty file", "", "offline", "true", "offline = true\n"},
		{"empty file, table", "", "cache.dir", `"/c"`, "[cache]\ndir = \"/c\"\n"},
		{"no last line break", "offline = true", "listen", `"x"`, "offline = true\nlisten = \"x\"\n"},
		{"no last line break, same line", "offline = true", "offline", "false", "offline = false"},
		{"windows line breaks", "offline = true\r\n[cache]\r\n", "cache.dir", `"/c"`, "offline = true\r\n[cache]\r\ndir = \"/c\"\r\n"},
		{"comment and indent", "  offline=true  # why\n", "offline", "false", "  offline=false  # why\n"},
		{"hash in the old value", `upstream = "a#b" # "c"` + "\n", "upstream", `"d"`, `upstream = "d" # "c"` + "\n"},
		{"dotted key", "cache.dir = \"/a\"\n", "cache.dir", `"/b"`, "cache.dir = \"/b\"\n"},
		{"dotted sibling", "network.ca_file = \"/a\"\n", "network.peer_check", "true", "network.ca_file = \"/a\"\nnetwork.peer_check = true\n"},
		{"same leaf in another table", "[other]\ndir = \"/o\"\n[cache]\ndir = \"/a\"\n", "cache.dir", `"/b"`, "[other]\ndir = \"/o\"\n[cache]\ndir = \"/b\"\n"},
		{"same line in a string", "upstream = \"\"\"\noffline = true\n\"\"\"\noffline = true\n", "offline", "false", "upstream = \"\"\"\noffline = true\n\"\"\"\noffline = false\n"},
		{"header in a string", "upstream = '''\n[cache]\n'''\n", "cache.dir", `"/c"`, "upstream = '''\n[cache]\n'''\n\n[cache]\ndir = \"/c\"\n"},
		{"list over lines", "private = [\n  \"a\",\n  \"b\",\n]\noffline = true\n", "private", `["c"]`, "private = [\"c\"]\noffline = true\n"},
		{"list over lines with a comment", "private = [\n  \"a\", # mine\n]\n", "private", `["c"]`, ""},
		{"remove", "# one\noffline = true # gone\n# two\n", "offline", "", "# one\n# two\n"},
		{"remove what is not there", "# one\n", "offline", "", "# one\n"},
		{"remove the last of a table", "[cache]\ndir = \"/a\"\n", "cache.dir", "", "[cache]\n"},
		{"unknown keys stay", "other = 1979-05-27\noffline = true\n", "offline", "false", "other = 1979-05-27\noffline = false\n"},
		{"inline table", "cache = { dir = \"/a\" }\n", "cache.dir", `"/b"`, ""},
		{"quoted key", "\"offline\" = true\n", "offline", "false", ""},
		{"header with its comment", "a = 1\n\n# about b\n[b]\nc = 1\n", "offline", "true", "a = 1\noffline = true\n\n# about b\n[b]\nc = 1\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := editConfig("config.toml", tt.text, tt.key, tt.literal)
			if (err != nil) != (tt.want == "") {
				t.Fatalf("got error %v, want one: %t", err, tt.want == "")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("edited text (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzEditConfig looks for an edit that changes another setting or eats a comment.
func FuzzEditConfig(f *testing.F) {
	f.Add("# a\noffline = true # b\n[cache]\ndir = 'x'\n", "y", false)
	f.Add("private = [\n\"a\",\n]\nupstream = '''\nprivate = 1\n'''\n", "y#z", true)
	f.Fuzz(func(t *testing.T, text, value string, list bool) {
		key, literal := "cache.dir", quoteTOML(value)
		if list {
			key, literal = "private", "["+quoteTOML(value)+"]"
		}
		old, err := parseConfig("f", text)
		if err != nil {
			return
		}
		edited, err := editConfig("f", text, key, literal)
		if err != nil {
			return
		}
		got, err := parseConfig("f", edited)
		if err != nil {
			t.Fatalf("edited text does not parse: %v\n%s", err, edited)
		}
		delete(got, key)
		delete(old, key)
		if diff := cmp.Diff(old, got); diff != "" {
			t.Fatalf("other settings changed (-old +new):\n%s", diff)
		}
		if !strings.Contains(text, `"`) && !strings.Contains(text, "'") && !strings.Contains(value, "#") {
			if got, want := strings.Count(edited, "#"), strings.Count(text, "#"); got != want {
				t.Fatalf("got %d comments, want %d:\n%s", got, want, edited)
			}
		}
	})
}

func TestQuoteTOML(t *testing.T) {
	for _, text := range []string{"", "plain", `C:\Users\me`, `it's "quoted" \ here`, "tab\tnul\x00del\x7f", "é"} {
		got, err := parseConfig("f", "upstream = "+quoteTOML(text))
		if err != nil || got["upstream"] != text {
			t.Errorf("quoteTOML(%q) = %s: reads back as %q, %v", text, quoteTOML(text), got["upstream"], err)
		}
	}
}
