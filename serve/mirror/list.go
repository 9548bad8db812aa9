package mirror

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

// mergeLists returns the union of version lists in semver order. Of two lines for
// one version the later list's counts: a line may carry a time behind the version.
func mergeLists(lists ...io.Reader) ([]byte, error) {
	lines := make(map[string]string)
	for _, list := range lists {
		text, err := io.ReadAll(list)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 0 {
				lines[f[0]] = strings.Join(f[:min(len(f), 2)], " ")
			}
		}
	}
	versions := make([]string, 0, len(lines))
	for v := range lines {
		versions = append(versions, v)
	}
	slices.SortFunc(versions, semver.Compare)
	var merged bytes.Buffer
	for _, v := range versions {
		merged.WriteString(lines[v] + "\n")
	}
	return merged.Bytes(), nil
}
