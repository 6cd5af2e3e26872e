package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const tree = "../.."

// pages are the documents of the tree, by their paths in it.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(tree, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out[strings.TrimPrefix(path, tree+"/")] = string(text)
		}
	}
	if len(out) < 8 {
		t.Fatalf("%d pages", len(out))
	}
	return out
}

func TestDocs_LinkToWhatIsThere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)]+)\)`)
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to, section, _ := strings.Cut(m[1], "#")
			if strings.Contains(to, "://") {
				continue
			}
			at := filepath.Join(filepath.Dir(page), to)
			if to == "" {
				at = page
			}
			if _, err := os.Stat(filepath.Join(tree, at)); err != nil {
				t.Errorf("%s: %s is not there", page, m[1])
				continue
			}
			if section != "" && !hasSection(t, filepath.Join(tree, at), section) {
				t.Errorf("%s: %s has no such section", page, m[1])
			}
		}
	}
}

func hasSection(t *testing.T, path, section string) bool {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	odd := regexp.MustCompile(`[^a-z0-9 -]`)
	for _, line := range strings.Split(string(text), "\n") {
		title := strings.TrimLeft(line, "#")
		if title != line && strings.ReplaceAll(odd.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-") == section {
			return true
		}
	}
	return false
}

// TestCompatibility_NamesTestsThatAreThere: the table says what is proved.
func TestCompatibility_NamesTestsThatAreThere(t *testing.T) {
	known := map[string]bool{}
	err := filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)`).FindAllSubmatch(text, -1) {
			known[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(pages(t)["docs/compatibility.md"], -1)
	if len(named) < 30 {
		t.Fatalf("%d tests are named", len(named))
	}
	for _, m := range named {
		if !known[m[1]] {
			t.Errorf("docs/compatibility.md names %s, which there is not", m[1])
		}
	}
}
