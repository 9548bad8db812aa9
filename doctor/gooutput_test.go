package doctor

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestReadGoOutput(t *testing.T) {
	const ours = "http://127.0.0.1:24000/t/0123456789abcdef0123456789abcdef"
	for _, c := range []struct {
		name, text string
		module     string
		verdict    Verdict
		fix        string // part of it
	}{
		{"no such version", "go: github.com/acme/billing@v9.9.9: invalid version: unknown revision v9.9.9\n",
			"github.com/acme/billing@v9.9.9", BadVersion, "go list -m -versions github.com/acme/billing"},
		{"404 of a proxy", "go: github.com/acme/billing@v1.0.0: reading https://mirror.example.com/github.com/acme/billing/@v/v1.0.0.info: 404 Not Found\n\tserver response: not found: no module here\n",
			"github.com/acme/billing@v1.0.0", NotFound, "gomirror doctor github.com/acme/billing@v1.0.0"},
		{"our own words", "go: github.com/acme/billing@v1.9.0: reading " + ours + "/github.com/acme/billing/@v/v1.9.0.info: 502 Bad Gateway\n\tserver response:\n\tfetch github.com/acme/billing@v1.9.0 from its origin: the organisation acme wants the\n\ttoken authorised for its single sign-on\n\ttry: open https://github.com/orgs/acme/sso and then again\n",
			"github.com/acme/billing@v1.9.0", AuthSSO, "https://github.com/orgs/acme/sso"},
		{"gomirror is down", "go: github.com/acme/billing@v1.9.0: Get \"" + ours + "/github.com/acme/billing/@v/v1.9.0.info\": dial tcp 127.0.0.1:24000: connect: connection refused\n",
			"github.com/acme/billing@v1.9.0", NotRunning, "gomirror serve --background"},
		{"DNS", "go: example.com/m@v1.0.0: Get \"https://mirror.example.com/example.com/m/@v/v1.0.0.info\": dial tcp: lookup mirror.example.com: no such host\n",
			"example.com/m@v1.0.0", NetDNS, "--only network"},
		{"DNS time-out", "go: example.com/m@v1.0.0: Get \"https://mirror.example.com/x\": dial tcp: lookup mirror.example.com on 192.0.2.1:53: read udp: i/o timeout\n",
			"example.com/m@v1.0.0", NetDNS, "--only network"},
		{"TLS", "go: example.com/m@v1.0.0: Get \"https://mirror.example.com/x\": tls: failed to verify certificate: x509: certificate signed by unknown authority\n",
			"example.com/m@v1.0.0", NetTLS, "--only network"},
		{"proxy", "go: example.com/m@v1.0.0: Get \"https://mirror.example.com/x\": proxyconnect tcp: dial tcp 192.0.2.9:3128: connect: connection refused\n",
			"example.com/m@v1.0.0", NetProxy, "--only network"},
		{"time-out", "go: example.com/m@v1.0.0: Get \"https://mirror.example.com/x\": dial tcp 192.0.2.1:443: i/o timeout\n", "example.com/m@v1.0.0", NetTCP, "--only network"},
		{"a module called tls", "go: example.com/tls/x509@v1.0.0: invalid version: unknown revision v1.0.0\n", "example.com/tls/x509@v1.0.0", BadVersion, ""},
		{"git wants a name", "go: github.com/acme/billing@v1.9.0: git ls-remote -q origin in /tmp/vcs/0123: exit status 128:\n\tfatal: could not read Username for 'https://github.com': terminal prompts disabled\nConfirm the import path was entered correctly.\nIf this is a private repository, see https://golang.org/doc/faq#git_https for additional information.\n",
			"github.com/acme/billing@v1.9.0", AuthMissing, "gomirror auth login"},
		{"git by ssh", "go: github.com/acme/billing@v1.9.0: git ls-remote -q origin: exit status 128:\n\tgit@github.com: Permission denied (publickey).\n\tfatal: Could not read from remote repository.\n",
			"github.com/acme/billing@v1.9.0", AuthMissing, "gomirror auth login"},
		{"checksum", "verifying github.com/acme/billing@v1.9.0: checksum mismatch\n\tdownloaded: h1:aaaa=\n\tgo.sum:     h1:bbbb=\n\nSECURITY ERROR\nThis download does NOT match an earlier download recorded in go.sum.\n",
			"github.com/acme/billing@v1.9.0", ChecksumMismatch, "gomirror doctor github.com/acme/billing@v1.9.0"},
		{"checksum of go.mod", "verifying github.com/acme/billing@v1.9.0/go.mod: checksum mismatch\n\tdownloaded: h1:a\n\tsum.golang.org: h1:b\n", "github.com/acme/billing@v1.9.0", ChecksumMismatch, ""},
		{"a private name at the database", "go: github.com/acme/billing@v1.9.0: verifying module: github.com/acme/billing@v1.9.0: reading https://sum.example.com/lookup/github.com/acme/billing@v1.9.0: 404 Not Found\n\tserver response: not found\n",
			"github.com/acme/billing@v1.9.0", LeakRisk, "gomirror env"},
		{"case", "go: github.com/burntsushi/toml@v1.5.0: parsing go.mod:\n\tmodule declares its path as: github.com/BurntSushi/toml\n\t        but was required as: github.com/burntsushi/toml\n",
			"github.com/burntsushi/toml@v1.5.0", CaseMismatch, "go get github.com/BurntSushi/toml@v1.5.0"},
		{"renamed", "go: example.com/old@v1.0.0: parsing go.mod:\n\tmodule declares its path as: example.com/new\n\t        but was required as: example.com/old\n",
			"example.com/old@v1.0.0", PathMismatch, "go get example.com/new@v1.0.0"},
		{"no /v2", "go: github.com/acme/billing@v2.0.0: invalid version: module contains a go.mod file, so module path must match major version (\"github.com/acme/billing/v2\")\n",
			"github.com/acme/billing@v2.0.0", MajorSuffix, "go get github.com/acme/billing/v2@v2.0.0"},
		{"too old", "go: example.com/m@v1.0.0 requires go >= 1.99 (running go 1.26.8)\n", "example.com/m@v1.0.0", GoTooOld, "go get go@1.99"},
		{"go.sum", "main.go:3:8: missing go.sum entry for module providing package example.com/m/pkg; to add:\n\tgo mod download example.com/m\n", "example.com/m/pkg", GoSum, "go mod tidy"},
		{"no module", "main.go:3:8: no required module provides package example.com/m/pkg; to add it:\n\tgo get example.com/m/pkg\n", "example.com/m/pkg", NotFound, "gomirror doctor example.com/m/pkg"},
		{"zip", "go: example.com/m@v1.0.0: zip: not a valid zip file\n", "example.com/m@v1.0.0", ZipInvalid, "go mod download example.com/m@v1.0.0"},
		{"too large", "go: example.com/m@v1.0.0: create zip: module source tree too large (max size is 524288000 bytes)\n", "example.com/m@v1.0.0", TooLarge, ""},
		{"retracted", "go: warning: example.com/m@v1.0.0: retracted by module author: broken\n", "example.com/m@v1.0.0", Retracted, ""},
		{"off", "go: example.com/m@v1.0.0: module lookup disabled by GOPROXY=off\n", "example.com/m@v1.0.0", GoSettings, "GOPROXY"},
		{"a chain", "go: example.com/a@v1.0.0 requires\n\texample.com/b@v1.2.0: reading https://mirror.example.com/example.com/b/@v/v1.2.0.mod: 410 Gone\n", "example.com/b@v1.2.0", NotFound, ""},
		{"module without a version", "go: module github.com/acme/nothing: reading https://mirror.example.com/github.com/acme/nothing/@v/list: 404 Not Found\n", "github.com/acme/nothing", NotFound, ""},
		{"a branch with a slash", "go: github.com/acme/billing@feature/x: invalid version: version \"feature/x\" invalid: disallowed version string\n", "github.com/acme/billing@feature/x", BadVersion, ""},
		{"JSON", "{\n\t\"Path\": \"example.com/m\",\n\t\"Error\": \"example.com/m@v1.0.0: invalid version: unknown revision v1.0.0\"\n}\n", "example.com/m@v1.0.0", BadVersion, ""},
		{"Windows", "go: example.com/m@v9.9.9: invalid version: unknown revision v9.9.9\r\n", "example.com/m@v9.9.9", BadVersion, ""},
		{"another tool", "make: error: example.com/m@v9.9.9: unknown revision v9.9.9\n", "example.com/m@v9.9.9", BadVersion, ""},
		{"full disk", "go: example.com/m@v1.0.0: write /home/me/go/pkg/mod/cache/x: no space left on device\n", "example.com/m@v1.0.0", LocalFault, "--only storage"},
		{"import path", "main.go:4:2: unrecognized import path \"example.com/gone\": reading https://example.com/gone?go-get=1: 404 Not Found\n", "example.com/gone", NotFound, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ReadGoOutput(strings.NewReader("go: downloading example.com/other v1.0.0\n" + c.text))
			if err != nil || len(got) != 1 {
				t.Fatalf("got %+v, %v; want one complaint", got, err)
			}
			about := Target{Path: got[0].Module, Version: got[0].Version}.String()
			if about != c.module || got[0].Verdict != c.verdict || !strings.Contains(got[0].Fix, c.fix) {
				t.Errorf("got %s, %s, fix %q; want %s, %s, a fix with %q\n%s", about, got[0].Verdict, got[0].Fix, c.module, c.verdict, c.fix, got[0].Text)
			}
			if strings.Contains(got[0].Text, "0123456789abcdef0123") {
				t.Errorf("the capability is shown: %s", got[0].Text)
			}
		})
	}
}

// TestReadGoOutputWhole has outputs of the go command as it prints them.
func TestReadGoOutputWhole(t *testing.T) {
	for _, c := range []struct {
		name, text string
		module     string
		verdict    Verdict
		first      string // words of go's
		fix        string // part of it
	}{
		{"go.mod to be updated", "go: updates to go.mod needed; to update it:\n\tgo mod tidy\n", "", GoSum, "go: updates to go.mod needed", "go mod tidy"},
		{"no such toolchain", "go: download go1.99 for linux/amd64: toolchain not available\n", "", GoTooOld, "go: download go1.99", "GOTOOLCHAIN=local go mod edit"},
		{"nothing that is known", "go: the moon is in the way\n", "", Unknown, "go: the moon", "gomirror doctor"},
		{"a chain of imports", "go: finding module for package example.com/m/pkg\ngo: app imports\n\texample.com/m/pkg: cannot find module providing package example.com/m/pkg\n",
			"example.com/m/pkg", NotFound, "go: app imports example.com/m/pkg: cannot find module", ""},
		{"list -e", "\t\"DepsErrors\": [\n\t\t{\n\t\t\t\"ImportStack\": [\n\t\t\t\t\"app\"\n\t\t\t],\n\t\t\t\"Pos\": \"main.go:3:8\",\n\t\t\t\"Err\": \"no required module provides package example.com/m/pkg; to add it:\\n\\tgo get example.com/m/pkg\"\n\t\t}\n\t]\n}\n",
			"example.com/m/pkg", NotFound, "no required module", ""},
		{"list -m -e", "{\n\t\"Path\": \"example.com/m\",\n\t\"Error\": {\n\t\t\"Err\": \"example.com/m@v1.0.0: Get \\\"http://127.0.0.1:1/example.com/m/@v/v1.0.0.info\\\": dial tcp 127.0.0.1:1: connect: connection refused\"\n\t}\n}\n",
			"example.com/m@v1.0.0", NetTCP, "example.com/m@v1.0.0: Get", ""},
		{"mod download", "{\n\t\"Path\": \"example.com/m\",\n\t\"Error\": \"example.com/m@v1.0.0: Get \\\"http://127.0.0.1:1/x\\\": connection refused\"\n}\n",
			"example.com/m@v1.0.0", NetTCP, "example.com/m@v1.0.0: Get", ""},
		{"build -json", `{"ImportPath":"example.com/m/pkg","Action":"build-output","Output":"main.go:3:8: no required module provides package example.com/m/pkg; to add it:\n"}` + "\n" + `{"ImportPath":"example.com/m/pkg","Action":"build-output","Output":"\tgo get example.com/m/pkg\n"}` + "\n" + `{"ImportPath":"example.com/m/pkg","Action":"build-fail"}` + "\n",
			"example.com/m/pkg", NotFound, "no required module", ""},
		{"a version that go.mod may not have", "go: errors parsing go.mod:\n/tmp/x/go.mod:5:2: require github.com/a/b: version \"v2.0.0\" invalid: should be v0 or v1, not v2\n",
			"github.com/a/b@v2.0.0", MajorSuffix, "", "sed -i.bak 's|github.com/a/b v2.0.0|github.com/a/b/v2 v2.0.0|' go.mod"},
		{"git alone", "fatal: unable to access 'https://github.com/acme/x/': Could not resolve host: github.com\n", "", NetDNS, "fatal: unable", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ReadGoOutput(strings.NewReader(c.text))
			if err != nil || len(got) != 1 {
				t.Fatalf("got %+v, %v; want one complaint", got, err)
			}
			about := Target{Path: got[0].Module, Version: got[0].Version}.String()
			if about != c.module || got[0].Verdict != c.verdict || !strings.Contains(got[0].Fix, c.fix) || !strings.HasPrefix(got[0].FirstWords(), c.first) {
				t.Errorf("got %s, %s, fix %q, %q\n%s", about, got[0].Verdict, got[0].Fix, got[0].FirstWords(), got[0].Text)
			}
		})
	}
}

func TestReadGoOutputOfOthers(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":       "",
		"all is well":   "go: downloading example.com/m v1.0.0\nok  \texample.com/app\t0.1s\n",
		"a type error":  "# example.com/app\n./main.go:3:5: undefined: x\n",
		"a failed test": "--- FAIL: TestX (0.00s)\n    x_test.go:3: got 1, want 2\nFAIL\n",

		"a name like a fault":                  "# example.com/app\n./main.go:3:5: undefined: http.timeout\n./main.go:4:2: http.Timeout undefined (no TLS here)\n",
		"a word like a fault":                  "./main.go:9:1: permission denied: x\n",
		"a panic":                              "panic: connection refused\n\ngoroutine 1 [running]:\nmain.main()\n\t/tmp/x/main.go:5 +0x1d\nexit status 2\n",
		"a panic with an address":              "panic: Get \"https://example.com/m@v1.0.0\": x509: no\n",
		"what a test asked for":                "    x_test.go:3: Get \"http://127.0.0.1:1/\": dial tcp: connection refused\n",
		"JSON where all is well":               "{\n\t\"Path\": \"example.com/tls\",\n\t\"Version\": \"v1.0.0\",\n\t\"Dir\": \"/home/x/not found@v1\"\n}\n",
		"a type error, as go tells it in JSON": `{"ImportPath":"app","Action":"build-output","Output":"./main.go:3:5: undefined: http.timeout\n"}` + "\n" + `{"ImportPath":"app","Action":"build-fail"}` + "\n",
		"a warning":                            "go: warning: \"./...\" matched no packages\n",
	} {
		if got, err := ReadGoOutput(strings.NewReader(text)); err != nil || len(got) != 0 {
			t.Errorf("%s: got %+v, %v; want none", name, got, err)
		}
	}
	twice := strings.Repeat("main.go:3:8: no required module provides package example.com/m/pkg; to add it:\n\tgo get example.com/m/pkg\n", 3)
	if got, _ := ReadGoOutput(strings.NewReader(twice)); len(got) != 1 {
		t.Errorf("the same three times: got %d complaints, want 1", len(got))
	}
}

// Each element of a long address might be the host where a module's path begins.
func TestReadLongAddress(t *testing.T) {
	start := time.Now()
	text := "go: example.com/m: https fetch: Get \"https://" + strings.Repeat("a.b/", 100_000) + "example.com/m/@v/list\": EOF\n"
	if _, err := ReadGoOutput(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if key, ok := proxyFile("proxy.example/" + strings.Repeat("x/", 5000) + "example.com/m/@v/list"); !ok || key.Module().Path != "example.com/m" {
		t.Errorf("got %v, %t", key, ok)
	}
}

func FuzzReadGoOutput(f *testing.F) {
	f.Add("go: a.example/b@v1: reading https://h/a.example/b/@v/v1.info: 404 Not Found\n\tserver response:\n\tx\n")
	f.Add("verifying a.b/c@v1/go.mod: checksum mismatch\n\x1b[31m\x00")
	f.Add("\"Error\": \"a.b/c@v1: \\u001b[0m timeout\"")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ReadGoOutput(strings.NewReader(text))
		if err != nil || len(got) > complaintLimit {
			t.Fatalf("got %d, %v", len(got), err)
		}
		for _, c := range got {
			if c.Module != "" && !pathOK(c.Module) {
				t.Errorf("module %q", c.Module)
			}
			if !utf8.ValidString(c.Text) || strings.ContainsAny(c.Text+c.Fix, "\x1b\x00\r") || c.Verdict == Unknown && !strings.HasPrefix(c.Text, "go: ") || c.Verdict == Fine {
				t.Errorf("got %+v", c)
			}
		}
	})
}
