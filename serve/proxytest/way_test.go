package proxytest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"time"
)

const bigZip = "/example.com/big/@v/v1.0.0.zip"

// bigUpstream serves a module whose zip is about 50 KiB.
func bigUpstream(t *testing.T, o Options) (u *Upstream, zip string) {
	t.Helper()
	u = New(t, o)
	u.Add(t, "example.com/big", "v1.0.0", map[string]string{"go.mod": "module example.com/big\n", "blob.txt": noise(100 << 10)})
	_, zip, err := get(clientOf(t, u), u.URL+bigZip)
	if err != nil {
		t.Fatal(err)
	}
	return u, zip
}

// part asks for the rest of a body from a place on.
func part(client *http.Client, url string, from int, ifRange string) (*http.Response, string, error) {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	if ifRange != "" {
		req.Header.Set("If-Range", ifRange)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

func TestPartsBreakOffToo(t *testing.T) {
	for _, kind := range []FaultKind{Cut, Break} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%v", kind, secure), func(t *testing.T) {
				u, zip := bigUpstream(t, Options{TLS: secure})
				u.Fault("*.zip", Fault{Kind: kind, Arg: "20000"})
				client := clientOf(t, u)
				var got string
				tries := 0
				for ; len(got) < len(zip) && tries < 10; tries++ {
					_, more, err := part(client, u.URL+bigZip, len(got), "")
					if err == nil && len(got)+len(more) < len(zip) {
						t.Fatalf("%d bytes of %d and no error", len(more), len(zip))
					}
					got += more
				}
				// A reset may outrun the bytes before it.
				if want := (len(zip) + 19999) / 20000; got != zip || kind == Cut && tries != want {
					t.Errorf("%d bytes in %d tries, want %d in %d", len(got), tries, len(zip), want)
				}
				if c := u.Counts(); c.Ranges != tries || c.Bytes["zip"] < int64(2*len(zip)) {
					t.Errorf("counted %+v, want %d ranges and twice %d bytes", c, tries, len(zip))
				}
			})
		}
	}
}

func TestOverSparesSmallAnswers(t *testing.T) {
	u, _ := bigUpstream(t, Options{})
	u.Fault("*", Fault{Kind: Cut, Over: 10000})
	if _, _, err := get(http.DefaultClient, u.URL+bigZip); err == nil {
		t.Error("a large answer came whole")
	}
	if _, b, err := get(http.DefaultClient, u.URL+"/example.com/big/@v/v1.0.0.mod"); err != nil || b == "" {
		t.Errorf("a small answer: %q, %v", b, err)
	}
	if got := u.Counts().Faults; len(got) != 1 || got[Cut] != 1 {
		t.Errorf("faults %v, want one cut", got)
	}
}

func TestChanceIsTheSameInEachRun(t *testing.T) {
	fates := func(seed uint64) (all string, good int) {
		u := New(t, Options{Fixtures: true})
		u.Fault("*", Fault{Kind: Status, Arg: "500 first", Chance: 0.2, Seed: seed})
		u.Fault("*", Fault{Kind: Status, Arg: "503 second", Chance: 0.1, Seed: seed})
		for i := range 400 {
			name := []string{"list", "v1.5.1.info"}[i%2]
			code, _, err := get(http.DefaultClient, u.URL+"/example.com/quote/@v/"+name)
			if err != nil {
				t.Fatal(err)
			}
			all += fmt.Sprint(code, " ")
		}
		return all, strings.Count(all, "200")
	}
	one, good := fates(1)
	// 0.9 * 0.8 = 72 %
	if good < 250 || good > 330 || strings.Count(one, "503") < 20 || strings.Count(one, "500") < 40 {
		t.Errorf("%d of 400 are good, want about 288: %s", good, one)
	}
	if again, _ := fates(1); again != one {
		t.Error("the same seed gives other fates")
	}
	if other, _ := fates(2); other == one {
		t.Error("another seed gives the same fates")
	}
}

func TestRetryAfter(t *testing.T) {
	for name, test := range map[string]string{"seconds": "7", "date": "date 90s"} {
		t.Run(name, func(t *testing.T) {
			u := New(t, Options{Fixtures: true})
			u.Fault("list", Fault{Kind: Status, Arg: "429 slowly", RetryAfter: test})
			resp, _, err := part(http.DefaultClient, u.URL+"/example.com/quote/@v/list", 0, "")
			if err != nil || resp.StatusCode != 429 {
				t.Fatalf("got %v, %v", resp, err)
			}
			got := resp.Header.Get("Retry-After")
			if at, err := http.ParseTime(got); err == nil {
				if d := time.Until(at); d < 80*time.Second || d > 91*time.Second {
					t.Errorf("the date is %v ahead", d)
				}
			} else if got != test {
				t.Errorf("Retry-After %q, want %q", got, test)
			}
		})
	}
}

func TestTrickle(t *testing.T) {
	u, zip := bigUpstream(t, Options{})
	u.Fault("*.zip", Fault{Kind: Trickle, Arg: fmt.Sprint(2 * len(zip))})
	start := time.Now()
	_, got, err := get(http.DefaultClient, u.URL+bigZip)
	if took := time.Since(start); got != zip || err != nil || took < 400*time.Millisecond {
		t.Errorf("%d bytes in %v, %v, want %d in half a second", len(got), took, err, len(zip))
	}
}

func TestGoAwayEndsTheConnection(t *testing.T) {
	u, _ := bigUpstream(t, Options{TLS: true})
	client := clientOf(t, u)
	reused := func() (again bool) {
		trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { again = i.Reused }}
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", u.URL+bigZip, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.ProtoMajor != 2 {
			t.Errorf("HTTP/%d, %v", resp.ProtoMajor, err)
		}
		return again
	}
	got := []bool{reused(), reused()}
	u.Fault("*.zip", Fault{Kind: GoAway, Times: 1})
	got = append(got, reused(), reused(), reused())
	if want := []bool{false, true, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("connections used again: %v, want %v", got, want)
	}
}

func TestSignedURLsExpire(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, limit := range []string{"", "20000"} {
			t.Run(fmt.Sprintf("tls=%v/%s", secure, limit), func(t *testing.T) {
				u, zip := bigUpstream(t, Options{TLS: secure})
				client := clientOf(t, u)
				u.Fault("*.zip", Fault{Kind: Signed, Arg: limit})
				resp, got, err := part(client, u.URL+bigZip, 1000, "")
				signed := resp.Request.URL.String()
				switch {
				case strings.HasPrefix(signed, u.URL):
					t.Errorf("%s is no other port than %s", signed, u.URL)
				case limit == "" && (got != zip[1000:] || err != nil):
					t.Errorf("got %d bytes, %v", len(got), err)
				case limit != "" && (got != zip[1000:21000] || err == nil):
					t.Errorf("got %d bytes, %v, want 20000 and an error", len(got), err)
				}
				if code, body, _ := get(client, signed); code != 403 || !strings.Contains(body, "expired") {
					t.Errorf("again: %d %q, want 403", code, body)
				}
				if resp, got, err = part(client, u.URL+bigZip, 40000, ""); resp.StatusCode != 206 || got != zip[40000:] || err != nil {
					t.Errorf("a new URL: %d, %d bytes, %v", resp.StatusCode, len(got), err)
				}
				u.Stop()
				if _, _, err := get(client, signed); err == nil {
					t.Error("the other port is open after Stop")
				}
			})
		}
	}
}

func TestManner(t *testing.T) {
	tests := map[string]struct {
		manner Manner
		valid  func(h http.Header) (ifRange string, ok bool)
		code   int // of the part that is asked for with the validator
	}{
		"strong":   {Manner{}, func(h http.Header) (string, bool) { return h.Get("ETag"), h.Get("ETag")[0] == '"' }, 206},
		"none":     {Manner{Validators: NoValidators}, func(h http.Header) (string, bool) { return "", h.Get("ETag")+h.Get("Last-Modified") == "" }, 206},
		"weak":     {Manner{Validators: WeakETag}, func(h http.Header) (string, bool) { return h.Get("ETag"), h.Get("ETag")[:3] == `W/"` }, 200},
		"modified": {Manner{Validators: LastModified}, func(h http.Header) (string, bool) { return h.Get("Last-Modified"), h.Get("ETag") == "" }, 206},
		"changing": {Manner{Validators: NewETag}, func(h http.Header) (string, bool) { return h.Get("ETag"), true }, 200},
		"no range": {Manner{NoRanges: true}, func(h http.Header) (string, bool) { return h.Get("ETag"), true }, 200},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			u, zip := bigUpstream(t, Options{})
			u.SetManner(test.manner)
			resp, err := http.Get(u.URL + bigZip)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			ifRange, ok := test.valid(resp.Header)
			if !ok {
				t.Errorf("the validators are wrong: %v", resp.Header)
			}
			want := zip
			if test.code == 206 {
				want = zip[1000:]
			}
			resp, got, err := part(http.DefaultClient, u.URL+bigZip, 1000, ifRange)
			if err != nil || resp.StatusCode != test.code || got != want {
				t.Errorf("the rest: %d, %d bytes, %v, want %d, %d bytes", resp.StatusCode, len(got), err, test.code, len(want))
			}
		})
	}
}

func TestOtherZipsHaveTheSameHash(t *testing.T) {
	for _, manner := range []Manner{{Stored: true}, {Reversed: true}} {
		u, zip := bigUpstream(t, Options{})
		u.SetManner(manner)
		_, other, err := get(http.DefaultClient, u.URL+bigZip)
		if err != nil || other == zip {
			t.Errorf("%v, the same bytes: %v", err, other == zip)
		}
		if manner.Reversed && len(other) != len(zip) {
			t.Errorf("%d bytes, want as many as before, %d", len(other), len(zip))
		}
		// The go command compares the hash with what the database vouches for.
		if out, err := goTool(t, u, t.TempDir(), "mod", "download", "example.com/big@v1.0.0"); err != nil {
			t.Errorf("go mod download: %v\n%s", err, out)
		}
		one, _, err1 := hashes([]byte(zip), "")
		two, _, err2 := hashes([]byte(other), "")
		if one != two || err1 != nil || err2 != nil || !strings.HasPrefix(one, "h1:") {
			t.Errorf("%s and %s, %v, %v", one, two, err1, err2)
		}
	}
}
