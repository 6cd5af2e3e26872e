// Command vulndb makes the database that govulncheck reads of the folder of reports
// in Go's module golang.org/x/vulndb, for machines that reach a module mirror and
// not vuln.go.dev (its layout: https://go.dev/doc/security/vuln/database).
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// report is what the indexes need of one.
type report struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Aliases  []string  `json:"aliases,omitempty"`
	Affected []struct {
		Package struct{ Name string }
		Ranges  []struct{ Events []struct{ Fixed string } }
	} `json:"affected"`
}

type vulnerability struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Fixed    string    `json:"fixed,omitempty"`
	Aliases  []string  `json:"aliases,omitempty"`
}

type module struct {
	Path  string          `json:"path"`
	Vulns []vulnerability `json:"vulns"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: vulndb <folder of the module golang.org/x/vulndb> <folder to write>")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "vulndb:", err)
		os.Exit(1)
	}
}

func write(from, to string) error {
	files, err := filepath.Glob(filepath.Join(from, "data", "osv", "*.json"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s has no data/osv", from)
	}
	modules := map[string]*module{}
	var all []vulnerability
	latest := time.Time{}
	for _, path := range files {
		content, err := os.ReadFile(path) //nolint:gosec // of the folder that is named
		if err != nil {
			return err
		}
		var r report
		if err := json.Unmarshal(content, &r); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := save(content, to, "ID", r.ID+".json"); err != nil {
			return err
		}
		all = append(all, vulnerability{ID: r.ID, Modified: r.Modified, Aliases: r.Aliases})
		if r.Modified.After(latest) {
			latest = r.Modified
		}
		for name, fixed := range r.modules() {
			if modules[name] == nil {
				modules[name] = &module{Path: name}
			}
			modules[name].Vulns = append(modules[name].Vulns, vulnerability{ID: r.ID, Modified: r.Modified, Fixed: fixed})
		}
	}
	byPath := slices.SortedFunc(maps.Values(modules), func(a, b *module) int { return cmp.Compare(a.Path, b.Path) })
	for name, index := range map[string]any{"modules.json": byPath, "vulns.json": all, "db.json": map[string]time.Time{"modified": latest}} {
		content, err := json.Marshal(index)
		if err != nil {
			return err
		}
		if err := save(content, to, "index", name); err != nil {
			return err
		}
	}
	fmt.Printf("%d reports of %d modules, the latest of %s\n", len(all), len(modules), latest.Format(time.DateOnly))
	return nil
}

// modules are those that a report is of, with the version that mends the last of its
// ranges, "" where none does.
func (r *report) modules() map[string]string {
	out := map[string]string{}
	for _, affected := range r.Affected {
		fixed := ""
		for _, span := range affected.Ranges {
			for _, event := range span.Events {
				fixed = event.Fixed
			}
		}
		out[affected.Package.Name] = fixed
	}
	return out
}

func save(content []byte, to, folder, name string) error {
	path := filepath.Join(to, folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil { //nolint:gosec // in the folder that is named
		return err
	}
	return os.WriteFile(path, content, 0o600) //nolint:gosec // as above
}
