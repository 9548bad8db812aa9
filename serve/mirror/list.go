package mirror

import (
	"bufio"
	"io"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

// mergeLists writes the union of version lists in semver order. Of two lines for one
// version the later list's counts: a line may carry a time behind the version.
func mergeLists(w io.Writer, lists ...io.Reader) error {
	lines := make(map[string]string)
	for _, list := range lists {
		scan := bufio.NewScanner(list)
		for scan.Scan() {
			if f := strings.Fields(scan.Text()); len(f) > 0 {
				lines[f[0]] = strings.Join(f, " ")
			}
		}
		if err := scan.Err(); err != nil {
			return err
		}
	}
	versions := make([]string, 0, len(lines))
	for v := range lines {
		versions = append(versions, v)
	}
	slices.SortFunc(versions, semver.Compare)
	for _, v := range versions {
		if _, err := io.WriteString(w, lines[v]+"\n"); err != nil {
			return err
		}
	}
	return nil
}
