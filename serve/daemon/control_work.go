package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// Refresh asks the sidecar to ask anew for a module, or one of its versions.
type Refresh struct {
	Module      string `json:"module"`
	Version     string `json:"version,omitempty"`      // or a branch
	AcceptMoved bool   `json:"accept_moved,omitempty"` // take the commit that the version's tag names now
}

// Resolve asks the sidecar which version of a module a branch, tag or commit is.
type Resolve struct {
	Module string `json:"module"`
	Ref    string `json:"ref"` // may have slashes
}

// refusal is how an error crosses the socket.
type refusal struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
	Auth  bool   `json:"auth,omitempty"` // it wants to know who asks
}

// refusedError is such an error on the other side.
type refusedError struct{ refusal }

func (e *refusedError) Error() string { return e.refusal.Error }

// Hint tells the one thing to do, or nothing.
func (e *refusedError) Hint() string { return e.refusal.Hint }

// NeedsAuth reports whether a token is missing, or the wrong one.
func (e *refusedError) NeedsAuth() bool { return e.Auth }

// requestLimit is far more than the longest path and version have.
const requestLimit = 16 << 10

// handleWork adds what may take as long as a clone.
func (c *Control) handleWork(mux *http.ServeMux) {
	mux.HandleFunc("POST /refresh", func(w http.ResponseWriter, r *http.Request) { work(c, w, r, c.opts.Refresh) })
	mux.HandleFunc("POST /resolve", func(w http.ResponseWriter, r *http.Request) { work(c, w, r, c.opts.Resolve) })
	mux.HandleFunc("POST /forget-tokens", func(w http.ResponseWriter, _ *http.Request) {
		if c.opts.ForgetTokens != nil {
			if err := c.opts.ForgetTokens(); err != nil {
				refuse(w, err)
				return
			}
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// work answers a request with what do returns. It has no limit in time but the asker's
// patience: r's context ends when the connection does, or the sidecar.
func work[T any](c *Control, w http.ResponseWriter, r *http.Request, do func(context.Context, T) (any, error)) {
	if do == nil {
		http.NotFound(w, r)
		return
	}
	var request T
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, requestLimit)).Decode(&request); err != nil {
		http.Error(w, "not the JSON of a request: "+err.Error(), http.StatusBadRequest)
		return
	}
	conn := http.NewResponseController(w)
	if err := errors.Join(conn.SetReadDeadline(time.Time{}), conn.SetWriteDeadline(time.Time{})); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer, err := do(r.Context(), request)
	if err == nil {
		c.answer(w, answer)
		return
	}
	refuse(w, err)
}

func refuse(w http.ResponseWriter, err error) {
	refused := refusal{Error: err.Error()}
	var hinter interface{ Hint() string }
	if errors.As(err, &hinter) {
		refused.Hint = hinter.Hint()
	}
	var origin interface{ NeedsAuth() bool }
	refused.Auth = errors.As(err, &origin) && origin.NeedsAuth()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnprocessableEntity)
	_ = json.NewEncoder(w).Encode(refused) // a client that left needs no reason
}
