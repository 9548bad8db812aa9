//go:build unix

package doctor_test

import (
	"archive/zip"
	"io"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/doctor/doctortest"
)

// testHealthy has set-ups of all kinds in which nothing is wrong.
func testHealthy(t *testing.T) {
	hub := newHub(t)
	for _, test := range []struct {
		name  string
		set   func(*whole) // before gomirror is started
		after func(*whole) // once the shell uses it; may be nil
	}{
		{"token in a file, acme private", (*whole).useToken, nil},
		{"nothing private, no keychain", func(*whole) {}, nil},
		{"Go's own settings", func(w *whole) {
			w.lab.Host(strings.TrimPrefix(strings.Split(w.run("env -u GOPROXY GOENV=off go env GOPROXY"), ",")[0], "https://"))
			delete(w.vars, "GOPROXY")
		}, nil},
		{"mainland mirror", func(w *whole) {
			delete(w.vars, "GOPROXY")
			w.run("go env -w GOPROXY=https://mirror.example.com,direct GOSUMDB=sum.golang.google.cn")
			w.lab.Host("sum.golang.google.cn")
			w.sums.Port(doctortest.Swallows)
			w.github.Port(doctortest.Swallows)
			w.api.Port(doctortest.Swallows)
			w.lab.First().Lie("codeload.github.com", "0.0.0.0")
		}, nil},
		{"GOSUMDB=off", func(w *whole) { w.vars["GOSUMDB"] = "off"; w.useToken() }, nil},
		{"ssh in place of https", func(w *whole) {
			w.vars["GOPRIVATE"] = "github.com/acme"
			w.run("git config --global url.git@github.com:.insteadOf https://github.com/")
		}, nil},
		{"vendored project", (*whole).useToken, func(w *whole) {
			w.dir = w.path("project")
			w.write(w.path("project", "go.mod"), "module example.com/m\n\ngo 1.24\n\nrequire github.com/acme/x v1.0.0\n", 0o644)
			w.write(w.path("project", "vendor", "modules.txt"), "# github.com/acme/x v1.0.0\n## explicit\n", 0o644)
			w.vars["GOFLAGS"] = "-mod=vendor -modcacherw"
		}},
		{"work space", (*whole).useToken, func(w *whole) {
			w.dir = w.path("work", "a")
			w.write(w.path("work", "go.work"), "go 1.24\n\nuse ./a\nuse ./b\n", 0o644)
			for _, name := range []string{"a", "b"} {
				w.write(w.path("work", name, "go.mod"), "module example.com/"+name+"\n\ngo 1.24\n", 0o644)
			}
		}},
		{"corporate CA", func(w *whole) {
			ca := doctortest.NewAuthority(w.t, "Zscaler Root CA")
			ca.WritePEM(w.path("corp.pem"))
			for _, h := range w.hosts() {
				h.TLS(doctortest.UnknownIssuer, ca)
			}
			w.useToken()
			w.run("gomirror config set network.ca_file " + w.path("corp.pem"))
		}, nil},
		{"IPv4 only", func(w *whole) {
			w.useToken()
			for _, h := range w.hosts() {
				h.PortOf(doctortest.Open, doctortest.NoRoute)
			}
		}, nil},
		{"IPv6 only", func(w *whole) {
			w.useToken()
			for _, h := range w.hosts() {
				h.PortOf(doctortest.NoRoute, doctortest.Open)
			}
		}, nil},
		{"container of a CI", func(w *whole) {
			for _, name := range []string{"LANG", "SHELL", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS", "GOENV"} {
				delete(w.vars, name)
			}
			w.useToken()
			w.run("rm -r .config state .local/state/gomirror/credentials.json 2>&1 || true")
			w.vars["CI"], w.vars["GITHUB_TOKEN"], w.vars["GOMIRROR_GITHUB_TOKEN"] = "true", other, canary
			w.vars["GOMIRROR_PRIVATE"] = "github.com/acme"
		}, (*whole).bundleNames},
		{"proxy of a company", func(w *whole) {
			corp := w.lab.Host("goproxy.corp.example.com")
			corp.Serve(answer(404, "text/plain", "not one of ours"))
			w.vars["GOPROXY"] = "https://ann:s3cret@goproxy.corp.example.com,https://mirror.example.com,direct"
		}, nil},
		{"private, but not on GitHub", func(w *whole) { w.vars["GOPRIVATE"] = "git.corp.example/team,*.inner.example" }, nil},
		{"HTTP proxy, and no way but through it", func(w *whole) {
			w.useToken()
			w.vars["HTTPS_PROXY"] = w.lab.Proxy().URL
			for _, h := range w.hosts() {
				h.Port(doctortest.Swallows)
			}
			w.lab.First().Say("", doctortest.Silent)
		}, nil},
		{"offline, and meant so", func(w *whole) {
			w.useToken()
			w.run("gomirror config set offline true")
			w.lab.First().Say("", doctortest.Silent)
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWhole(t, func(w *whole) {
				w.shared = hub
				test.set(w)
			})
			if test.after != nil {
				test.after(w)
			}
			if got, _ := w.alarms(nil, nil); len(got) > 0 || w.verdict != 0 {
				t.Errorf("exit code %d, %v", w.verdict, got)
			}
			if said := w.tryRun("gomirror doctor --only network,go --json"); strings.Contains(said, "s3cret") {
				t.Errorf("the password is told: %s", said)
			}
		})
	}
}

// bundleNames has a bundle name nobody, though GitHub has told a name that is stored
// nowhere here.
func (w *whole) bundleNames() {
	w.t.Helper()
	w.tryRun("gomirror doctor --bundle b.zip")
	archive, err := zip.OpenReader(w.path("b.zip"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer archive.Close()
	for _, file := range archive.File {
		f, err := file.Open()
		if err != nil {
			w.t.Fatal(err)
		}
		text, err := io.ReadAll(f)
		if err != nil || regexp.MustCompile(`\b(ann|acme)\b|mirror\.example\.com`).Match(text) {
			w.t.Errorf("%s (%v):\n%s", file.Name, err, text)
		}
	}
}

// testPairs has two things wrong at once: neither hides the other.
func testPairs(t *testing.T) {
	all := slices.Concat(goFaults(), machineFaults(), authFaults(), nameFaults(), connectionFaults(), proxyFaults(), tlsFaults(), answerFaults())
	named := func(name string) fault {
		i := slices.IndexFunc(all, func(f fault) bool { return f.name == name })
		if i < 0 {
			t.Fatalf("there is no fault %q", name)
		}
		return all[i]
	}
	w := newWhole(t, nil)
	for _, pair := range [][2]string{
		{"GOPROXY without gomirror", "NXDOMAIN"},
		{"GONOPROXY takes all past", "GitHub 401"},
		{"flag that go does not know", "TLS expired"},
		{"GO111MODULE=off", "capability that others read"},
		{"stopped", "port closed"},
		{"clock two days ahead", "upstream 500"},
		{"TLS of another name", "hosts file"},
		{"GitHub 403, single sign-on", "upstream sends a page"},
		{"git asks a relay", "HTTP proxy bars GitHub"},
		{"pattern with a scheme", "gh's variable"},
		{"cache that others write", "token that ends soon"},
		{"no go", "redirect in a circle"},
	} {
		a, b := named(pair[0]), named(pair[1])
		t.Run(a.name+" and "+b.name, func(t *testing.T) {
			w.machine.t = t
			w.suffer(a, b)
		})
		w.machine.t = t
		w.reset()
	}
}

// testDead has a network in which nothing answers, in its slowest forms.
func testDead(t *testing.T) {
	w := newWhole(t, nil)
	const limit, limitOutside = 6 * time.Second, 20 * time.Second
	for _, test := range []struct {
		name string
		set  func(*whole)
	}{
		{"nothing answers", func(w *whole) {}},
		{"nor DNS", func(w *whole) { w.lab.First().Say("", doctortest.Silent); w.lab.Resolver().Say("", doctortest.Silent) }},
		{"nor the HTTP proxy", func(w *whole) { w.vars["HTTPS_PROXY"] = "http://" + w.lab.Hole() }},
		{"nor gomirror", (*whole).freeze},
	} {
		for _, h := range w.hosts() {
			h.Port(doctortest.Swallows)
		}
		test.set(w)
		w.longest = 0
		reports := w.ask()
		if w.itself > limit || w.longest > limitOutside {
			t.Errorf("%s: the doctor took %v, as it says %v", test.name, w.longest, w.itself)
		}
		if got := reports["N01"]; got.Status != doctor.Fail || len(got.Findings) == 0 {
			t.Errorf("%s: N01 says %s", test.name, got.said())
		}
		t.Logf("%s: %v", test.name, w.longest)
		if test.name == "nor gomirror" {
			kill(t, w.pid(), syscall.SIGCONT)
		}
		w.reset()
	}
}
