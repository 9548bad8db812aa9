package proxytest

import (
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// FaultKind names what goes wrong with an answer.
type FaultKind string

// The faults. Arg in [Fault] is what the comment calls ARG.
const (
	Status   FaultKind = "status"   // ARG "CODE text": that status, text as text/plain
	HTML     FaultKind = "html"     // 200 with a login page
	Body     FaultKind = "body"     // 200 with ARG for a body
	Swap     FaultKind = "swap"     // 200 with the body of the path ARG
	Append   FaultKind = "append"   // the body and then ARG
	Flip     FaultKind = "flip"     // one byte in the middle of the body differs
	Short    FaultKind = "short"    // half of the body, well framed
	Length   FaultKind = "length"   // Content-Length tells ten bytes more than come
	Hang     FaultKind = "hang"     // no answer at all
	Reset    FaultKind = "reset"    // the connection is reset
	Redirect FaultKind = "redirect" // 302 to ARG
	Loop     FaultKind = "loop"     // 302 to itself, for ever

	// These go wrong on the way, in an answer that is otherwise as the client wants it:
	// a part if it asked for one. PLACE is how many bytes of it come: a number,
	// "random", or half if there is none.
	Cut     FaultKind = "cut"     // ARG PLACE, then the connection or the stream closes
	Stall   FaultKind = "stall"   // ARG PLACE, then silence
	Break   FaultKind = "break"   // ARG PLACE, then the connection is reset
	Trickle FaultKind = "trickle" // ARG bytes a second, 512 if there is none
	GoAway  FaultKind = "goaway"  // ARG PLACE, all if there is none, and no more on this connection (http2: GOAWAY)

	// Signed is 302 to a URL on another port that holds for one request, or until it
	// has sent ARG bytes, and answers 403 from then on.
	Signed FaultKind = "signed"
)

// Fault is one way to answer wrongly.
type Fault struct {
	Kind  FaultKind
	Arg   string
	Times int // how many requests get it; 0 means all

	// Chance is the share of the requests that get it; 0 means all. Which ones follows
	// from Seed: the nth request of a path fares the same in each run.
	Chance float64
	Seed   uint64

	Over       int    // of the faults on the way: only answers with more bytes than that
	RetryAfter string // of Status: the header; "date 2s" means the date in two seconds
}

// Fault makes requests whose path matches go wrong from now on. match is a pattern
// as path.Match has it for the last element of the path ("*.zip", "v1.5.2.*",
// "list"), or, when it starts with a slash, a prefix of the whole path. The fault
// added last wins; where its chance spares a request, the one before it has a go.
func (u *Upstream) Fault(match string, f Fault) {
	u.mu.Lock()
	defer u.mu.Unlock()
	left := f.Times
	if left == 0 {
		left = -1
	}
	u.faults = append(u.faults, &activeFault{Fault: f, match: match, left: left, asked: make(map[string]int)})
}

// Mend ends all faults.
func (u *Upstream) Mend() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.faults = nil
}

type activeFault struct {
	Fault
	match  string
	left   int            // guarded by Upstream.mu; < 0 means for ever
	asked  map[string]int // guarded by Upstream.mu; requests so far by path
	signed signedHost
}

func (f *activeFault) matches(urlPath string) bool {
	if strings.HasPrefix(f.match, "/") && strings.HasPrefix(urlPath, f.match) {
		return true
	}
	ok, err := path.Match(f.match, path.Base(urlPath))
	return ok && err == nil
}

// faultFor returns what goes wrong with this request, nil if nothing does.
func (u *Upstream) faultFor(urlPath string) *hit {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := len(u.faults) - 1; i >= 0; i-- {
		f := u.faults[i]
		if !f.matches(urlPath) || f.left == 0 {
			continue
		}
		dice := f.roll(urlPath)
		if f.Chance > 0 && dice.Float64() >= f.Chance {
			continue
		}
		if f.left > 0 {
			f.left--
		}
		return &hit{f, dice}
	}
	return nil
}

// serve answers a request with the fault.
func (f *hit) serve(u *Upstream, w http.ResponseWriter, r *http.Request) {
	switch f.Kind {
	case Cut, Stall, Break, Trickle, GoAway, signedBody: // what they do depends on the answer
	default:
		u.trips.spoiled(f.Kind)
	}
	switch f.Kind {
	case Status:
		f.serveStatus(w)
	case HTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "<!DOCTYPE html>\n<html><body><h1>Please log in</h1></body></html>\n")
	case Hang:
		<-r.Context().Done()        // the client has left, or Stop
		panic(http.ErrAbortHandler) // an answer might still reach it
	case Reset:
		reset(w)
	case Redirect:
		http.Redirect(w, r, f.Arg, http.StatusFound)
	case Loop:
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	case Cut, Stall, Break, Trickle, GoAway:
		f.serveOnTheWay(u, w, r)
	case Signed:
		f.serveRedirect(u, w, r)
	case signedBody:
		f.serveSigned(u, w, r)
	default:
		f.serveBody(u, w, r)
	}
}

func (f *hit) serveStatus(w http.ResponseWriter) {
	code, text, _ := strings.Cut(f.Arg, " ")
	n, err := strconv.Atoi(code)
	if err != nil {
		n = http.StatusInternalServerError
	}
	after := f.RetryAfter
	if in, ok := strings.CutPrefix(after, "date "); ok {
		d, err := time.ParseDuration(in)
		if err != nil {
			n, text = http.StatusInternalServerError, err.Error()
		}
		// A date has whole seconds only: never before the time that was meant.
		after = time.Now().Add(d + time.Second - 1).UTC().Format(http.TimeFormat)
	}
	if after != "" {
		w.Header().Set("Retry-After", after)
	}
	http.Error(w, text, n)
}
