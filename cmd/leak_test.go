package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// leakRow is a user of the table in DESIGN, "gomirror env".
type leakRow struct {
	name     string
	user     []string // variables of the shell
	config   string   // the setting private
	goSum    bool     // the project's go.sum is complete
	open     bool     // nothing says that the module is private: all is told as without gomirror
	bare     string   // how builds end whatever the sidecar does
	kept     bool     // go fetches everything by itself, also past a sidecar that is well
	refuse   bool     // gomirror sets nothing up for a sidecar that has not seen this shell
	fallback string   // --fallback
}

// leakRows returns the rows of users whose gomirror has a token for what is private,
// and who can't fetch it without gomirror; or of those without a token, who can.
func leakRows(token bool) []leakRow {
	pattern := []leakRow{
		{name: "config", config: leakPattern},
		{name: "config in capitals", config: "github.com/Acme"},
		{name: "GOPRIVATE", user: []string{"GOPRIVATE=" + leakPattern}},
		// Who sets it alone wants checksums, so go itself asks for those that its go.sum
		// lacks, with gomirror as without.
		{name: "GONOPROXY", user: []string{"GONOPROXY=" + leakPattern}, goSum: true},
		{name: "GOPRIVATE all", user: []string{"GOPRIVATE=*"}, kept: true},
		{name: "GOPRIVATE, fallback off", user: []string{"GOPRIVATE=" + leakPattern}, fallback: "off"},
		// From the cache alone builds go on whose go.sum is complete: go asks us for sums.
		{name: "GOPRIVATE, fallback cache", user: []string{"GOPRIVATE=" + leakPattern}, fallback: "cache", goSum: true},
	}
	if token {
		return append(pattern,
			leakRow{name: "config, fallback off", config: leakPattern, fallback: "off"},
			leakRow{name: "config, fallback cache", config: leakPattern, fallback: "cache", goSum: true},
			leakRow{name: "token alone", open: true},
		)
	}
	return append(pattern,
		leakRow{name: "nothing", open: true},
		leakRow{name: "GONOSUMDB", user: []string{"GONOSUMDB=" + leakPattern}, open: true},
		leakRow{name: "GOPROXY off", user: []string{"GOPROXY=off"}, open: true, bare: "GOPROXY=off"},
		leakRow{name: "GOPROXY direct", user: []string{"GOPROXY=direct"}, open: true, refuse: true},
		leakRow{name: "GOPROXY direct, GOPRIVATE", user: []string{"GOPROXY=direct", "GOPRIVATE=" + leakPattern}, refuse: true},
	)
}

// leakSidecars are the ways in which the sidecar of a row was started: in this very
// shell, in one that has nothing set, or in one that has GOPRIVATE.
func leakSidecars() []string { return []string{"own", "strange", "knowing"} }

// never is the state of a sidecar that was down before the shell was set up.
const never = "never"

// TestNoLeak keeps the promise no-leak in every cell of the matrix: each row of the
// table with each start of the sidecar in each state of it, and a private module in
// every project. Nobody but the origin may hear of it where anybody has said that it is
// private, and no more than without gomirror where nobody has. Builds end as they must:
// that no name is heard is easy if all fail.
func TestNoLeak(t *testing.T) {
	t.Parallel()
	for _, token := range []bool{true, false} {
		t.Run(fmt.Sprintf("token=%v", token), func(t *testing.T) {
			t.Parallel()
			m := &leakMatrix{leakLab: newLeakLab(t, !token), token: token, homes: make(map[string]*leakHome), plain: make(map[string]leakEnd)}
			m.control(t)
			for _, row := range leakRows(token) {
				for _, sidecar := range leakSidecars() {
					m.runRow(t, row, sidecar)
				}
			}
			for _, h := range m.homes {
				if _, err := h.run(h.dir, nil, "gomirror", "stop"); err != nil {
					t.Error(err)
				}
				if !h.untold {
					h.checkLog(t)
				}
			}
			for _, row := range leakRows(token) {
				m.runCell(t, row, "own", never, m.shell(t, row, "own", never))
			}
			t.Logf("%d cells, each with a private module; %d must build; in %d with nobody's word for it others hear it as without gomirror; %d names heard elsewhere",
				m.cells, m.built, m.told, m.heardAll)
		})
	}
}

// leakMatrix is the half of the matrix for users with or without a token.
type leakMatrix struct {
	*leakLab
	token                        bool
	homes                        map[string]*leakHome // by how their sidecar was started
	plain                        map[string]leakEnd   // by row: without gomirror
	cells, built, told, heardAll int
}

// control proves that a name is heard: without gomirror and patterns both are told.
func (m *leakMatrix) control(t *testing.T) {
	end := m.without(t, leakRow{})
	if end.err != "" || !slices.Equal(end.hear, []string{"database", "mirror"}) {
		t.Fatalf("plain go without patterns ends in %+v, want that both are told", end)
	}
}

// home returns the home with the sidecar of a row, and the variable of the row's
// configuration; rows share what starts alike.
func (m *leakMatrix) home(row leakRow, sidecar string) (h *leakHome, config []string) {
	var with []string
	configured := ""
	switch sidecar {
	case "own":
		with, configured = slices.Clone(row.user), row.config
	case "knowing":
		with = []string{"GOPRIVATE=" + leakPattern}
	}
	key := fmt.Sprint(with, configured, row.fallback) // which of them builds from the cache alone must not know the others' modules
	if m.homes[key] == nil {
		h := m.newHome(!m.token)
		if m.token {
			h.environ = append(h.environ, "GOMIRROR_GITHUB_TOKEN="+leakToken)
		}
		if configured != "" {
			with = append(with, h.configure(configured))
		}
		m.homes[key] = h.start(with...)
		h.untold = sidecar == "own" && row.open && row.refuse // it fails at the origin what it takes for public
	}
	if row.config != "" {
		config = append(config, m.homes[key].configure(row.config))
	}
	return m.homes[key], config
}

// shell returns the variables of a row's shell that was set up.
func (m *leakMatrix) shell(t *testing.T, row leakRow, sidecar, state string) []string {
	t.Helper()
	h, config := m.home(row, sidecar)
	var flags []string
	if row.fallback != "" {
		flags = []string{"--fallback", row.fallback}
	}
	refused := row.refuse && sidecar != "own" && state != never
	return h.setUp(t, slices.Concat(row.user, config), refused, flags...)
}

func (m *leakMatrix) runRow(t *testing.T, row leakRow, sidecar string) {
	shell := m.shell(t, row, sidecar, "up")
	states := []string{"up", "down", "404", "403", "500", "stalled", "reset"}
	if sidecar == "knowing" {
		states = states[:2] // not in the table: what a shell does that lacks the pattern of another
	}
	for _, state := range states {
		m.runCell(t, row, sidecar, state, shell)
	}
}

// runCell builds in a shell that was set up while the sidecar is in a state.
func (m *leakMatrix) runCell(t *testing.T, row leakRow, sidecar, state string, shell []string) {
	t.Run(fmt.Sprintf("%s/%s/%s", row.name, sidecar, state), func(t *testing.T) {
		want := m.want(t, row, sidecar, state)
		h, _ := m.home(row, sidecar)
		got := m.build(t, h, row, append(m.inState(t, shell, state), m.gopath(t)))
		m.cells++
		if want.err == "" {
			m.built++
		}
		if len(want.hear) > 0 {
			m.told++
		}
		if got.err != want.err || got.sum != want.sum {
			t.Errorf("the build ends in %q with go.sum\n%s\nwant %q with\n%s\n%v\nwith %q", got.err, got.sum, want.err, want.sum, got.text, shell)
		}
		for _, who := range got.hear {
			if !slices.Contains(want.hear, who) {
				m.heardAll += len(got.names)
				t.Errorf("heard where no name may be:\n%s\nwith %q", strings.Join(got.names, "\n"), shell)
				break
			}
		}
	})
}

// checkLog checks that a log names nothing private unless that was asked for with -v.
func (h *leakHome) checkLog(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, "state", "gomirror", logFile))
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(text)) {
		if namesSecret(line) {
			t.Errorf("the log names what is private: %s", line)
		}
	}
}
