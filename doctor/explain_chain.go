package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// heard is what came of a question to the upstreams in their order.
type heard struct {
	entry  upstream.Entry // whose answer counts; direct, if all others have passed
	passed []string       // what those before it said
	first  *heard         // the first of them that did not just say that it has it not
	reply
}

// direct reports whether the question has come down to the origin.
func (f heard) direct() bool { return f.entry.URL == "direct" }

// about tells who answers what. A fault names who itself.
func (f heard) about(what string) string {
	if f.fault != nil {
		return f.fault.text
	}
	return fmt.Sprintf("%s answers %s (asked about %s)", f.entry, f.reply, what)
}

// fix is the command for what is wrong with it.
func (f heard) fix(x *explainer) string {
	switch v := f.verdict(); {
	case f.fault != nil && f.fault.fix != "":
		return f.fault.fix
	case v == RateLimited, v == NotFound:
		return ""
	default:
		return x.passOn(f.entry, v)
	}
}

// walk asks one entry of the list after the other, as serve/upstream does: how an entry
// answers, and whether "," or "|" is behind it, decides whether the next is asked.
func (x *explainer) walk(ask func(upstream.Entry) reply) heard {
	f := heard{reply: reply{status: http.StatusNotFound}}
	for _, e := range x.list {
		if e.URL == "off" {
			break
		}
		if f.entry = e; e.URL == "direct" {
			f.reply = reply{status: http.StatusNotFound}
			return f
		}
		f.reply = ask(e)
		if f.verdict() == Fine || !upstream.Passes(e, x.o.builtinList(), f.reply.err()) {
			return f
		}
		f.passed = append(f.passed, f.about("it"))
		if f.verdict() != NotFound && f.first == nil {
			first := f
			f.first = &first
		}
	}
	if first := f.first; first != nil { // nobody has it, and one could not say
		f.entry, f.reply = first.entry, first.reply
	}
	return f
}

// askFor asks the upstreams for a file of the version.
func (x *explainer) askFor(ctx context.Context, kind cache.Kind, method string) heard {
	return x.walk(func(e upstream.Entry) reply { return x.askMirror(ctx, e, x.key(kind).String(), method) })
}

// toOrigin goes on where the upstreams have ended.
func (x *explainer) toOrigin(ctx context.Context, f heard) {
	if f.first == nil {
		x.step("upstream", OK, f.passed, "no upstream has it, so its origin is asked")
		x.origin(ctx)
		return
	}
	x.step("upstream", Warn, f.passed, "no upstream gives it, and the list passes that on, so its origin is asked")
	before := x.verdict
	if x.origin(ctx); x.verdict != before && x.verdict.network() {
		x.verdict, x.fix = f.first.verdict(), cmp.Or(f.first.fix(x), fixOf(f.first.verdict(), x.name()))
		x.text = fmt.Sprintf("%s; and of its origin: %s", f.first.about(x.mod), x.text)
	}
}

// err is a reply as serve/upstream has it.
func (r reply) err() error {
	switch {
	case r.fault == nil && r.verdict() == Fine:
		return nil
	case r.fault == nil:
		return &upstream.StatusError{Code: r.status}
	}
	if code, err := strconv.Atoi(r.fault.kind); err == nil {
		return &upstream.StatusError{Code: code}
	}
	switch r.fault.kind {
	case "page", "redirect", "loop":
		return &cache.InvalidError{Reason: r.fault.text}
	case "broken":
		return io.ErrUnexpectedEOF
	}
	return errors.New(r.fault.text)
}

// passOn is the command that has the entry behind e asked whatever befalls e, and the
// origin where there is none.
func (x *explainer) passOn(e upstream.Entry, v Verdict) string {
	list, err := upstream.ParseList(x.n.upstreams())
	at := slices.IndexFunc(list, func(o upstream.Entry) bool { return o.String() == e.String() })
	if err != nil || at < 0 {
		return ""
	}
	if v == AuthMissing && strings.HasPrefix(list[at].URL, "https://") {
		list[at].URL = strings.Replace(e.String(), "https://", "https://USER:PASSWORD@", 1)
		return x.n.setUpstream(joinEntries(list, func(e upstream.Entry) string { return e.URL }))
	}
	list[at].FallBackOnError = true
	if at == len(list)-1 {
		list = append(list, upstream.Entry{URL: "direct"})
	} else if list[at+1].URL == "off" {
		list[at+1].URL = "direct"
	}
	return x.n.setUpstream(joinEntries(list, func(e upstream.Entry) string { return e.URL }))
}
