package cmd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// leakEnd is how a build of the matrix ends.
type leakEnd struct {
	err   string   // one of leakErrors, "" for none
	sum   string   // go.sum, if it was built
	hear  []string // who heard of the private module: the mirror, the database
	names []string // what they heard
	text  error
}

// leakErrors are the words of go by which builds end, those that count most first.
func leakErrors() []string {
	return []string{
		"signal: killed", // it waits for a sidecar that says nothing
		"checksum mismatch",
		"GOPROXY=off",
		"connection refused", "404 Not Found", "403 Forbidden", "500 Internal Server Error", "connection reset",
		"could not read Username", // git has nobody to ask
	}
}

// stallLimit is how long a go command may wait for a sidecar that says nothing: what it
// asks of others meanwhile takes a second. Who asks others for all has no such limit.
const stallLimit = 3 * time.Second

// build builds a project with the private module and the public one.
func (m *leakMatrix) build(t *testing.T, h *leakHome, row leakRow, shell []string) leakEnd {
	t.Helper()
	limit := time.Minute
	if !row.kept && slices.ContainsFunc(shell, func(kv string) bool { return strings.HasPrefix(kv, "GOPROXY=http://"+m.states["stalled"]) }) {
		limit = stallLimit
	}
	dir := m.project(t, row.goSum, leakPublic, leakSecret+"/pkg")
	m.heard()
	var end leakEnd
	if _, end.text = h.runFor(limit, dir, shell, "go", "build", "./..."); end.text != nil {
		end.err = "another error"
		for _, words := range leakErrors() {
			if strings.Contains(end.text.Error(), words) {
				end.err = words
				break
			}
		}
	} else {
		sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
		if err != nil {
			t.Fatal(err)
		}
		end.sum = string(sum)
	}
	end.names = m.heard()
	for _, name := range end.names {
		who := "mirror"
		if strings.Contains(name, "/lookup/") {
			who = "database"
		}
		if !slices.Contains(end.hear, who) {
			end.hear = append(end.hear, who)
		}
	}
	slices.Sort(end.hear)
	return end
}

// without is how a row's build ends without gomirror.
func (m *leakMatrix) without(t *testing.T, row leakRow) leakEnd {
	t.Helper()
	end, ok := m.plain[row.name]
	if !ok {
		end = m.build(t, m.newHome(!m.token), row, append(slices.Clone(row.user), m.gopath(t)))
		m.plain[row.name] = end
	}
	return end
}

// want is how a build must end.
func (m *leakMatrix) want(t *testing.T, row leakRow, sidecar, state string) leakEnd {
	t.Helper()
	setUp := !row.refuse || sidecar == "own" || state == never // gomirror env was good for something
	// Has anybody said that the module is private, to whom the shell or gomirror could
	// listen?
	secret := !row.open || sidecar == "knowing" && state != never && setUp
	served := state == "up" && !row.kept && (sidecar == "knowing" || sidecar == "own")
	cached := row.fallback == "cache" && sidecar != "strange" && (state != never || row.config != "") // a GOPRIVATE that no sidecar confirms is kept
	switch {
	case row.bare != "":
		return leakEnd{err: row.bare}
	case state == "stalled" && setUp && !row.kept:
		return leakEnd{err: "signal: killed"}
	case row.fallback == "off" && state != "up":
		return leakEnd{err: map[string]string{"down": "connection refused", never: "connection refused", "404": "404 Not Found",
			"403": "403 Forbidden", "500": "500 Internal Server Error", "reset": "connection reset"}[state]}
	case secret && m.token && !served && !cached, !secret && m.token && state != "up":
		return leakEnd{err: "could not read Username"} // and no mirror behind us, though nobody said a word
	case secret:
		return leakEnd{sum: m.goSum}
	}
	return m.without(t, row)
}
