package cmd

import (
	"context"

	"github.com/gomirror/gomirror/doctor"
)

// suggestDoc is the document of `doctor --suggest --json`.
type suggestDoc struct {
	SchemaVersion int          `json:"schema_version"`
	Upstream      string       `json:"upstream"` // the list in the order suggested, without passwords
	Command       string       `json:"command"`  // what sets it; "" if nothing is to be changed
	Upstreams     []findingDoc `json:"upstreams"`
}

// runSuggest changes nothing: which upstream learns what is asked for is the user's to
// decide.
func runSuggest(ctx context.Context, env *Env, opts doctorOptions) error {
	look, err := env.lookAround(ctx, opts.offline)
	if err != nil {
		return err
	}
	s, err := doctor.Suggest(ctx, look)
	if err != nil {
		return err
	}
	if env.json {
		doc := suggestDoc{SchemaVersion: 1, Upstream: clean(s.List), Command: clean(s.Command), Upstreams: []findingDoc{}}
		for _, f := range s.Seen {
			doc.Upstreams = append(doc.Upstreams, newFindingDoc(f))
		}
		err = env.printJSON(doc)
	} else {
		sheet := &doctorSheet{env: env, p: env.palette(), words: !env.showsUTF8()}
		sheet.show(doctor.Result{ID: "N01", Section: "network", Findings: s.Seen})
		switch {
		case s.List == "":
		case s.Command == "":
			sheet.print("the upstreams are in the best order: " + clean(s.List) + "\n")
		default:
			sheet.print("this order is quicker: " + clean(s.Command) + "\n")
		}
		err = sheet.err
	}
	if err == nil && s.List == "" {
		return failf("gomirror doctor --only network", "suggest an order: no upstream works")
	}
	return err
}
