package cmd

import (
	"strings"
	"testing"

	"github.com/gomirror/gomirror/doctor"
)

// TestHideHosts has hosts of a company that nothing is fetched from by name.
func TestHideHosts(t *testing.T) {
	const database = "sum.canary.example+033de0ae+Ac4zctda0e5eza https://sum.canary.example/x"
	goEnv := func(e doctor.GoEnv) doctor.Options {
		return doctor.Options{Go: func() doctor.Go { return doctor.Go{Now: e} }}
	}
	last := func(st doctor.DaemonStatus) doctor.Options {
		return doctor.Options{Daemon: func() doctor.Daemon { return doctor.Daemon{Last: st} }}
	}
	for _, test := range []struct {
		name, text string
		vars       map[string]string
		look       doctor.Options
	}{
		{"GOSUMDB", "dial sum.canary.example:443", map[string]string{"GOSUMDB": database}, doctor.Options{}},
		{"GOSUMDB of go env", database, nil, goEnv(doctor.GoEnv{GOSUMDB: database})},
		{"GOSUMDB of a dead one", database, nil, last(doctor.DaemonStatus{GOSUMDB: database})},
		{"allow_host's variable", "dev.canary.example:20001", map[string]string{"GOMIRROR_ALLOW_HOST": "localhost:1,dev.canary.example:20001"}, doctor.Options{}},
		{"allow_host", "host dev.canary.example", nil, doctor.Options{Settings: []doctor.Setting{{Name: "allow_host", Value: "dev.canary.example:20001"}}}},
		{"allow_host of a dead one", "host dev.canary.example", nil, last(doctor.DaemonStatus{Settings: []doctor.Setting{{Name: "allow_host", Value: "dev.canary.example:20001"}}})},
		{"a proxy of one label", "lookup canarybox: no such host", map[string]string{"http_proxy": "http://u:p/w@canarybox:3128"}, doctor.Options{}},
		{"one without a scheme", "lookup canarybox: no such host", map[string]string{"ALL_PROXY": "canarybox:3128"}, doctor.Options{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := hiderOf(test.vars, test.look).text(test.text); strings.Contains(got, "canary") || !strings.Contains(got, "PRIVATE-") {
				t.Error(got)
			}
		})
	}
	hide := hiderOf(map[string]string{"HTTP_PROXY": "http://localhost:1", "HTTPS_PROXY": "http://proxy:1", "ALL_PROXY": "direct",
		"http_proxy": "off", "all_proxy": "http://[::1]:1", "GOSUMDB": "sum.golang.org https://sum.golang.google.cn"}, doctor.Options{})
	const public = "localhost, proxy, direct, off, http://[::1]:1, sum.golang.org, https://sum.golang.google.cn"
	if got := hide.text(public); got != public {
		t.Errorf("what is public becomes %q", got)
	}
}

// TestHideUpstreams has tokens in the paths of upstreams.
func TestHideUpstreams(t *testing.T) {
	for _, test := range []struct{ list, text, want string }{
		{"https://dl.host.example/CANARY/acme/go/,direct", "GET https://dl.host.example/CANARY/acme/go/example.com/x/@v/list: 404", "GET https://PRIVATE-upstream-1/example.com/x/@v/list: 404"},
		{"https://dl.host.example/CANARY/acme/go/", `{"upstream":"https://dl.host.example/CANARY/acme/go/"}`, `{"upstream":"https://PRIVATE-upstream-1/"}`},
		{"https://u:p@dl.host.example:8443/CANARY", "dl.host.example:8443/CANARY and DL.host.example", "PRIVATE-upstream-1 and PRIVATE-host-2"},
		{"https://10.1.2.3/CANARY|off", "https://10.1.2.3/CANARY/golang.org/x/mod", "https://PRIVATE-upstream-1/golang.org/x/mod"},
		{"https://gitlab.com/CANARY/go", "https://gitlab.com/CANARY/go", "https://PRIVATE-upstream-1"},
		{"https://modules.example.net/CANARY", "https://modules.example.net/CANARY/a", "https://PRIVATE-upstream-1/a"},
		{"https://dl.host.example/go?key=CANARY&a=b", `"https://dl.host.example/go/rsc.io/quote/@v/list?key=CANARY\u0026a=b"`, `"https://PRIVATE-upstream-1/rsc.io/quote/@v/listPRIVATE-upstream-2"`},
		{"https://dl.host.example/\xffCANARY/go", "https://dl.host.example/\xffCANARY/go/x", "https://PRIVATE-upstream-1/x"},
		{"https://dl.host.example/go", "https://github.com/go/x", "https://github.com/go/x"},
		{"https://modules.example.net/x,direct", "https://modules.example.net/x/y", "https://modules.example.net/x/y"},
	} {
		builtin := doctor.GoEnv{GOPROXY: "https://modules.example.net/x,https://modules.example.net"}
		hide := hiderOf(nil, doctor.Options{Upstream: test.list, Go: func() doctor.Go { return doctor.Go{Builtin: builtin} }})
		if got := hide.text(test.text); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}
}
