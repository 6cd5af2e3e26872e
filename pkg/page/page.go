package page

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/*
var assetFiles embed.FS

// Policy is the Content-Security-Policy of every page: nothing from elsewhere,
// no script or style but our files.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ContentType is that of every page.
const ContentType = "text/html; charset=utf-8"

// Pages renders the pages. It holds nothing that changes.
type Pages struct {
	templates map[string]*template.Template
	version   string
}

// New reads the templates; the error is a mistake in one of them.
func New(version string) (*Pages, error) {
	p := &Pages{templates: map[string]*template.Template{}, version: version}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		short := strings.TrimSuffix(path.Base(name), ".html")
		if short == "layout" {
			continue
		}
		t, err := template.New("layout.html").Funcs(functions).ParseFS(templateFiles, "templates/layout.html", name)
		if err != nil {
			return nil, fmt.Errorf("page %s: %w", short, err)
		}
		p.templates[short] = t
	}
	return p, nil
}

// frame is what stands around every page.
type frame struct {
	Title string
	// Section is the entry of the navigation that is marked.
	Section string
	// Query is what the search box shows.
	Query string
	// Stream is where the page's changes are told, "" for none; a page without
	// one is asked for again every so many milliseconds, if that is not 0.
	Stream string
	Every  int
	// Stale are the accounts that are out of touch, of those that the page is
	// about.
	Stale []string
	// MoreStale are not named.
	MoreStale int
	Version   string
	Now       time.Time
	Model     any
}

// mostStale accounts are named at the top of a page.
const mostStale = 5

func (p *Pages) render(name string, f frame) ([]byte, error) {
	f.Version, f.Now = p.version, time.Now()
	f.Stale, f.MoreStale = first(f.Stale, mostStale)
	var out bytes.Buffer
	if err := p.templates[name].ExecuteTemplate(&out, "layout.html", f); err != nil {
		return nil, fmt.Errorf("render the page %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// Asset is a file that pages use; ok is false when there is none of that name.
func Asset(name string) (body []byte, mediaType string, ok bool) {
	if strings.ContainsAny(name, "/\\") {
		return nil, "", false
	}
	body, err := assetFiles.ReadFile("assets/" + name)
	if err != nil {
		return nil, "", false
	}
	return body, mime.TypeByExtension(path.Ext(name)), true
}

var functions = template.FuncMap{
	"at":    at,
	"ago":   ago,
	"seg":   url.PathEscape,
	"query": url.QueryEscape,
	"join":  strings.Join,
	"count": count,
	"clusters": func(a index.Application) (n int) {
		for _, names := range a.Clusters {
			n += len(names)
		}
		return n
	},
}

// at shows a time so that it can be compared with a log.
func at(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

const day = 24 * time.Hour

// ago is a duration as people say it.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%.0fm", d.Minutes())
	case d < 2*day:
		return fmt.Sprintf("%.0fh", d.Hours())
	}
	return fmt.Sprintf("%.0fd", d.Hours()/24)
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "s") || strings.HasSuffix(noun, "ch") {
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
