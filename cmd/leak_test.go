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
	name   string
	user   []string // variables of the shell
	config bool     // the setting private is the pattern
	goSum  bool     // the project's go.sum is complete
	open   bool     // nothing says that the module is private, so the project has none
	bare   string   // how builds end when the sidecar is not well, if not as in the others
	kept   bool     // go fetches what is private by itself also past a sidecar that knows
	refuse bool     // gomirror sets nothing up for a sidecar that has not seen this shell
}

// leakRows returns the rows of users whose gomirror has a token for what is private,
// and who can't fetch it without gomirror; or of those without a token, who can.
func leakRows(token bool) []leakRow {
	pattern := []leakRow{
		{name: "config", config: true},
		{name: "GOPRIVATE", user: []string{"GOPRIVATE=" + leakPattern}},
		// Who sets it alone wants checksums, so go itself asks for those that its go.sum
		// lacks, with gomirror as without.
		{name: "GONOPROXY", user: []string{"GONOPROXY=" + leakPattern}, goSum: true},
		{name: "GOPRIVATE all", user: []string{"GOPRIVATE=*"}, kept: true},
	}
	if token {
		return append(pattern, leakRow{name: "token alone", open: true})
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
// table with each start of the sidecar in each state of it. Nobody but the origin
// may hear of a private module, and builds end as they must: that no name is heard
// is easy if all fail.
func TestNoLeak(t *testing.T) {
	for _, token := range []bool{true, false} {
		t.Run(fmt.Sprintf("token=%v", token), func(t *testing.T) {
			t.Parallel()
			m := &leakMatrix{leakLab: newLeakLab(t, !token), token: token, homes: make(map[string]*leakHome)}
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
				h.checkLog(t)
			}
			for _, row := range leakRows(token) {
				m.runCell(t, row, "own", never, m.shell(t, row, "own"))
			}
			t.Logf("%d cells, %d builds; %d names heard", m.cells, m.built, m.heardAll)
		})
	}
}

// leakMatrix is the half of the matrix for users with or without a token.
type leakMatrix struct {
	*leakLab
	token                  bool
	homes                  map[string]*leakHome // by how their sidecar was started
	cells, built, heardAll int
}

// control proves that a name is heard: without gomirror and patterns both are told.
func (m *leakMatrix) control(t *testing.T) {
	h := m.newHome(true)
	dir := m.project(t, false, leakSecret+"/pkg")
	if _, err := h.run(dir, []string{"GOPATH=" + h.dir + "/go"}, "go", "build", "./..."); err != nil {
		t.Fatal(err)
	}
	if names := m.heard(); !slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, "/lookup/") }) ||
		!slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, "/@v/") }) {
		t.Fatalf("plain go is heard to ask %q, want a lookup and a version", names)
	}
}

// home returns the home with the sidecar of a row; rows share what starts alike.
func (m *leakMatrix) home(row leakRow, sidecar string) (h *leakHome, config string) {
	var with []string
	configured := false
	switch sidecar {
	case "own":
		with, configured = row.user, row.config
	case "knowing":
		with = []string{"GOPRIVATE=" + leakPattern}
	}
	key := fmt.Sprint(with, configured)
	if m.homes[key] == nil {
		h := m.newHome(!m.token)
		if m.token {
			h.environ = append(h.environ, "GOMIRROR_GITHUB_TOKEN="+leakToken)
		}
		if configured {
			with = append(with, h.configure(leakPattern))
		}
		m.homes[key] = h.start(with...)
	}
	return m.homes[key], m.homes[key].configure(leakPattern)
}

// shell returns the variables of a row's shell that was set up.
func (m *leakMatrix) shell(t *testing.T, row leakRow, sidecar string) []string {
	t.Helper()
	h, config := m.home(row, sidecar)
	user := slices.Clone(row.user)
	if row.config {
		user = append(user, config)
	}
	return h.setUp(t, user)
}

func (m *leakMatrix) runRow(t *testing.T, row leakRow, sidecar string) {
	shell := m.shell(t, row, sidecar)
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
		imports := []string{leakPublic}
		if m.private(row, sidecar, state) {
			imports = append(imports, leakSecret+"/pkg")
		}
		h, _ := m.home(row, sidecar)
		dir := m.project(t, row.goSum, imports...)
		_, err := h.run(dir, append(m.inState(t, shell, state), m.gopath(t)), "go", "build", "./...")
		m.cells++
		if want := m.want(row, sidecar, state); want == "" {
			m.built++
			m.checkBuilt(t, dir, imports, err)
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the build ends in %v, want %q", err, want)
		}
		if names := m.heard(); len(names) > 0 {
			m.heardAll += len(names)
			t.Errorf("heard where no name may be:\n%s\nwith %q", strings.Join(names, "\n"), shell)
		}
	})
}

// private reports whether anybody has said that the module is private, to whom the
// shell or gomirror could listen.
func (m *leakMatrix) private(row leakRow, sidecar, state string) bool {
	return !row.open || sidecar == "knowing" && state != never && !row.refuse && row.bare == ""
}

// want returns what a build fails with, "" if it must not.
func (m *leakMatrix) want(row leakRow, sidecar, state string) string {
	served := state == "up" && !row.kept && (sidecar == "knowing" || sidecar == "own")
	switch {
	case row.bare != "":
		return row.bare
	case m.token && m.private(row, sidecar, state) && !served:
		return "could not read Username" // git has nobody to ask
	}
	return ""
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

// checkBuilt checks that a build has what the origin gives and nothing of the mirror's.
func (m *leakMatrix) checkBuilt(t *testing.T, dir string, imports []string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("the build fails: %v", err)
		return
	}
	got, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	want := m.goSum
	if len(imports) == 1 && !strings.Contains(string(got), leakSecret) {
		want = ""
		for line := range strings.Lines(m.goSum) {
			if strings.HasPrefix(line, leakPublic) {
				want += line
			}
		}
	}
	if string(got) != want {
		t.Errorf("go.sum is\n%s\nwant\n%s", got, want)
	}
}
