package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is one of a settings file, with its keys joined by dots as they are
// spelled there.
type document struct {
	values   map[string]any
	profiles string // for which it is meant; "" for all
	imports  []string
}

// settingsFiles reads settings as Spring does (accounts.md 7.1): path is a file,
// or the folder that holds spinnaker.yml and clouddriver.yml. To each file belong
// those of the active profiles, and what it imports; the later ones win.
func settingsFiles(path string, profiles []string) ([]map[string]any, []string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read settings file %s: %w", path, err)
	}
	l := &springLoader{profiles: profiles}
	if !info.IsDir() {
		if err := l.base(path, true); err != nil {
			return nil, nil, err
		}
		return l.all, l.files, l.variants()
	}
	for _, name := range []string{"spinnaker.yml", "clouddriver.yml"} {
		if err := l.base(filepath.Join(path, name), false); err != nil {
			return nil, nil, err
		}
	}
	if err := l.variants(); err != nil {
		return nil, nil, err
	}
	if len(l.all) == 0 {
		return nil, nil, fmt.Errorf("read settings folder %s: it has no clouddriver.yml and no spinnaker.yml", path)
	}
	return l.all, l.files, nil
}

type springLoader struct {
	profiles []string
	all      []map[string]any
	// files are those that were read, and folders those that were looked
	// through: a change of one is a change of the settings.
	files []string
	// bases are the files whose variants for the profiles come after all of them.
	bases []string
	depth int
}

// base reads a file that may have variants, and what it imports.
func (l *springLoader) base(path string, needed bool) error {
	l.bases = append(l.bases, path)
	return l.read(path, needed)
}

// variants reads those for the profiles, one profile after the other.
func (l *springLoader) variants() error {
	for _, profile := range l.profiles {
		for _, path := range slices.Clone(l.bases) {
			extension := filepath.Ext(path)
			if err := l.read(strings.TrimSuffix(path, extension)+"-"+profile+extension, false); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *springLoader) read(path string, needed bool) error {
	documents, err := readDocuments(path)
	if errors.Is(err, os.ErrNotExist) && !needed {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read settings file %s: %w", path, err)
	}
	l.files = append(l.files, path)
	for _, d := range documents {
		if d.profiles != "" && !active(d.profiles, l.profiles) {
			continue
		}
		l.all = append(l.all, d.values)
		for _, location := range d.imports {
			if err := l.include(location, filepath.Dir(path)); err != nil {
				return fmt.Errorf("%s: spring.config.import: %w", path, err)
			}
		}
	}
	return nil
}

// mostImports bounds files that import each other.
const mostImports = 20

// include reads one import: optional:file:/a/b.yml, or a folder, whose name may
// end with */ for all its sub-folders.
func (l *springLoader) include(location, beside string) error {
	if l.depth++; l.depth > mostImports {
		return errors.New("too many files import each other")
	}
	defer func() { l.depth-- }()
	location, optional := strings.CutPrefix(location, "optional:")
	scheme, rest, ok := strings.Cut(location, ":")
	switch {
	case ok && scheme == "file":
		location = rest
	case ok && (scheme == "configserver" || scheme == "configtree" || scheme == "classpath"):
		if optional {
			return nil
		}
		return fmt.Errorf("%s: imports are not supported, only file: ones; begin it with optional: to go on without", scheme)
	}
	if !filepath.IsAbs(location) {
		location = filepath.Join(beside, location) + trailing(location)
	}
	if !strings.HasSuffix(location, "/") {
		return l.base(location, !optional)
	}
	folders := []string{location}
	if parent, wild := strings.CutSuffix(location, "*/"); wild {
		var err error
		if folders, err = filepath.Glob(filepath.Join(parent, "*")); err != nil {
			return err
		}
		folders = slices.DeleteFunc(folders, func(path string) bool {
			info, err := os.Stat(path)
			// A mounted volume has its generations there, too, as ..data and others.
			return err != nil || !info.IsDir() || strings.HasPrefix(filepath.Base(path), "..")
		})
		slices.Sort(folders)
	}
	for _, folder := range folders {
		for _, name := range []string{"spinnaker.yml", "clouddriver.yml"} {
			if err := l.base(filepath.Join(folder, name), false); err != nil {
				return err
			}
		}
	}
	return nil
}

func trailing(location string) string {
	if strings.HasSuffix(location, "/") {
		return "/"
	}
	return ""
}

// active says whether one of the profiles is among those that a document is for;
// one that begins with ! is for the others.
func active(wanted string, profiles []string) bool {
	for _, one := range splitList(wanted) {
		name, not := strings.CutPrefix(one, "!")
		if slices.Contains(profiles, name) != not {
			return true
		}
	}
	return false
}

func readDocuments(path string) ([]document, error) {
	f, err := os.Open(path) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var out []document
	d := yaml.NewDecoder(f)
	for {
		var nested map[string]any
		err := d.Decode(&nested)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		values := map[string]any{}
		flatten(values, "", nested)
		doc := document{values: values, imports: textsOf(values, "spring.config.import")}
		doc.profiles = strings.Join(append(textsOf(values, "spring.config.activate.on-profile"), textsOf(values, "spring.profiles")...), ",")
		out = append(out, doc)
	}
}

// flatten joins the keys of nested maps by dots. Lists stay as they are.
func flatten(out map[string]any, prefix string, value any) {
	nested, ok := value.(map[string]any)
	if !ok {
		out[prefix] = value
		return
	}
	for key, inner := range nested {
		if prefix != "" {
			key = prefix + "." + key
		}
		flatten(out, key, inner)
	}
}

// textsOf are the texts of a key in any spelling: one, several joined by commas,
// or a list.
func textsOf(values map[string]any, key string) []string {
	for spelled, value := range values {
		if relaxed(spelled) != relaxed(key) {
			continue
		}
		switch v := value.(type) {
		case string:
			return splitList(v)
		case []any:
			var out []string
			for _, one := range v {
				out = append(out, splitList(fmt.Sprint(one))...)
			}
			return out
		}
	}
	return nil
}

// expander replaces ${name:default} in texts, by other settings and by the
// environment.
type expander struct {
	values  map[string]any // by relaxed key
	environ func(string) string
}

// deepest bounds placeholders that stand for each other.
const deepest = 20

// expand replaces the placeholders of a value, in lists and maps, too. The error
// names a placeholder that stands for nothing.
func (e *expander) expand(value any) (any, error) {
	switch v := value.(type) {
	case string:
		return e.text(v, 0)
	case []any:
		for i := range v {
			var err error
			if v[i], err = e.expand(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range v {
			var err error
			if v[key], err = e.expand(v[key]); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

func (e *expander) text(text string, depth int) (string, error) {
	if depth > deepest {
		return "", errors.New("placeholders stand for each other")
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		inner, after, closed := closing(rest)
		if !closed {
			out.WriteString("${")
			text = rest
			continue
		}
		replaced, err := e.placeholder(inner, depth)
		if err != nil {
			return "", err
		}
		out.WriteString(replaced)
		text = after
	}
}

// closing finds the brace that closes a placeholder, which may hold others.
func closing(text string) (inner, after string, ok bool) {
	depth := 0
	for i := range len(text) {
		switch {
		case strings.HasPrefix(text[i:], "${"):
			depth++
		case text[i] == '}' && depth > 0:
			depth--
		case text[i] == '}':
			return text[:i], text[i+1:], true
		}
	}
	return "", "", false
}

func (e *expander) placeholder(inner string, depth int) (string, error) {
	name, byDefault, hasDefault := strings.Cut(inner, ":")
	if nested := strings.Index(inner, "${"); nested >= 0 && nested < len(name) {
		expanded, err := e.text(inner, depth+1)
		if err != nil {
			return "", err
		}
		name, byDefault, hasDefault = strings.Cut(expanded, ":")
	}
	if found := e.environ(name); found != "" {
		return found, nil
	}
	if found := e.environ(strings.ToUpper(strings.NewReplacer(".", "_", "-", "").Replace(name))); found != "" {
		return found, nil
	}
	if value, ok := e.values[relaxed(name)]; ok && value != nil {
		return e.text(fmt.Sprint(value), depth+1)
	}
	if hasDefault {
		return e.text(byDefault, depth+1)
	}
	return "", fmt.Errorf("${%s} stands for nothing: there is no such variable or key, and it has no default", name)
}
