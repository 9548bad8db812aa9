package doctor

import "testing"

func TestHideUserinfo(t *testing.T) {
	for _, tt := range []struct{ list, want string }{
		{"https://ann:pw@a.example,https://b:c@d@e.example|direct", "https://REDACTED@a.example,https://REDACTED@e.example|direct"},
		{"https://ann:p/w/x@a.example/go,direct", "https://REDACTED@a.example/go,direct"},
		{"ann:p/w@a.example:80", "REDACTED@a.example:80"},
		{"https://a.example:8080/go@x,direct", "https://a.example:8080/go@x,direct"},
		{"/home/ann@work/cache", "/home/ann@work/cache"},
		{"file:///home/ann@work/tree", "file:///home/ann@work/tree"},
		{"sum.example+1234abcd+Ab/c= https://sum.example", "sum.example+1234abcd+Ab/c= https://sum.example"},
	} {
		if got := HideUserinfo(tt.list); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.list, got, tt.want)
		}
	}
	for _, tt := range []struct{ address, want string }{
		{"http://ann:1/2,3@4@wp.example:3128", "http://REDACTED@wp.example:3128"},
		{"ann:1/2@wp.example:3128", "REDACTED@wp.example:3128"},
		{"http://wp.example:3128", "http://wp.example:3128"},
		{"", ""},
	} {
		if got := hideProxyUser(tt.address); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.address, got, tt.want)
		}
	}
}
