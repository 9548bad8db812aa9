package github

import (
	"context"
	"net/url"
	"strings"

	"github.com/gomirror/gomirror/serve/credential"
)

// Name returns how a host writes the name of a repository, "github.com/Acme/x": it
// finds one by any capitals and by its former names.
func (c *Client) Name(ctx context.Context, repo string, s credential.Secret) (string, error) {
	host, path, _ := strings.Cut(repo, "/")
	owner, name, _ := strings.Cut(path, "/")
	resp, err := c.get(ctx, host, s, "/repos/"+url.PathEscape(owner)+"/"+url.PathEscape(name))
	if err != nil {
		return "", c.explain(err, repo, s)
	}
	var doc struct {
		FullName string `json:"full_name"`
	}
	if err := resp.decode(&doc); err != nil {
		return "", err
	}
	return host + "/" + oneLine(doc.FullName), nil
}
