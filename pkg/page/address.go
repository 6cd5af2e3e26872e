package page

import (
	"net/url"
	"strings"
)

// address is a path with those of the parameters that are not empty; it ends so
// that one more can be added.
func address(at string, parameters ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(parameters); i += 2 {
		if parameters[i+1] != "" {
			q.Set(parameters[i], parameters[i+1])
		}
	}
	if len(q) == 0 {
		return at + "?"
	}
	return at + "?" + q.Encode() + "&"
}

// application is where an application is shown.
func application(name string) string { return "/ui/applications/" + url.PathEscape(name) }

// serverGroup is where a server group is shown.
func serverGroup(app, account, region, name string) string {
	parts := []string{url.PathEscape(account), url.PathEscape(region), url.PathEscape(name)}
	return application(app) + "/serverGroups/" + strings.Join(parts, "/")
}
