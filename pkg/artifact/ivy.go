package artifact

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html/charset"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// ivyFile is a file of Ivy repositories (artifacts.md 5.13). The first artifact
// of a module is it.
type ivyFile struct{ resolver ivyResolver }

// ivyModule is what a reference names.
type ivyModule struct {
	organisation, module, revision string
	// build stands for the revision in the names of a Maven snapshot's files.
	build string
}

func ivyModuleOf(reference string) (ivyModule, error) {
	const least = 3
	parts := strings.Split(reference, ":")
	if len(parts) < least || slices.Contains(parts[:least], "") {
		return ivyModule{}, refused("Ivy artifact reference must have a group, artifact, and version separated by ':'")
	}
	for _, part := range parts[:least] {
		if part == "." || part == ".." || strings.ContainsAny(part, "/\\?#%") {
			return ivyModule{}, refused("Ivy artifact reference: %q is no name", part)
		}
	}
	return ivyModule{organisation: parts[0], module: parts[1], revision: parts[2]}, nil
}

func (f ivyFile) fetch(ctx context.Context, a spinnaker.Artifact) (Content, error) {
	m, err := ivyModuleOf(a.Reference)
	if err != nil {
		return Content{}, err
	}
	c, err := ivyConstraintOf(m.revision)
	if err != nil {
		return Content{}, err
	}
	found, err := f.resolver.resolve(ctx, m, c)
	if errors.Is(err, errNotThere) {
		return Content{}, fmt.Errorf("Unable to resolve artifact for reference '%s'", a.Reference) //nolint:staticcheck // Java's text
	}
	return found.content, err
}

// errNotThere is for what a resolver has not, and another one may have.
var errNotThere = errors.New("no resolver has it")

// ivyResolver finds a module.
type ivyResolver interface {
	resolve(ctx context.Context, m ivyModule, c ivyConstraint) (ivyFound, error)
}

// ivyFound is a module that a resolver has, in the revision that was chosen.
type ivyFound struct {
	revision string
	content  Content
}

func (f ivyFound) is() bool { return f.content.ReadCloser != nil }

func (f ivyFound) close() {
	if f.is() {
		_ = f.content.Close()
	}
}

// ivyChain asks several resolvers, one after the other.
type ivyChain struct {
	of          []ivyResolver
	returnFirst bool
}

func (ch ivyChain) resolve(ctx context.Context, m ivyModule, c ivyConstraint) (ivyFound, error) {
	var best ivyFound
	var failed error // of a resolver; the others may have it
	for _, r := range ch.of {
		found, err := r.resolve(ctx, m, c)
		if err != nil {
			if failed == nil && !errors.Is(err, errNotThere) {
				failed = err
			}
			continue
		}
		if best.is() && ivyRevisionOf(found.revision).compare(ivyRevisionOf(best.revision)) <= 0 {
			found.close()
			continue
		}
		best.close()
		best = found
		if ch.returnFirst || c.exact() {
			break
		}
	}
	switch {
	case best.is():
		return best, nil
	case failed != nil:
		return ivyFound{}, failed
	}
	return ivyFound{}, errNotThere
}

// readXML reads what Maven and Ivy write, in any encoding.
func readXML(body []byte, into any) error {
	d := xml.NewDecoder(bytes.NewReader(body))
	d.CharsetReader, d.Entity = charset.NewReaderLabel, xml.HTMLEntity
	return d.Decode(into)
}

// ivyPlace is one repository: patterns of where its files are.
type ivyPlace struct {
	descriptors, artifacts []ivyPattern
	// slashes has the dots of organisations made folders, as Maven's are.
	slashes bool
	// listing names all revisions of a module of a Maven repository; nil has the
	// folders listed. snapshots names the builds of one revision.
	listing, snapshots *ivyPattern
	cache              *cache
	key                string
	// confs are the configurations whose artifacts are wanted.
	confs []string
}

// ivyPattern is where files are, and what is shown of the account there.
type ivyPattern struct {
	text string
	web  *web
	show http.Header
}

func (p ivyPlace) resolve(ctx context.Context, m ivyModule, c ivyConstraint) (ivyFound, error) {
	revisions := []string{m.revision}
	if !c.exact() {
		all, err := p.revisions(ctx, m)
		if err != nil {
			return ivyFound{}, err
		}
		revisions = c.latestFirst(all)
	}
	const mostTried = 50
	for _, revision := range revisions[:min(len(revisions), mostTried)] {
		m, err := p.built(ctx, m, revision)
		if err != nil {
			return ivyFound{}, err
		}
		of, err := p.descriptor(ctx, m)
		if err != nil {
			return ivyFound{}, err
		}
		if !c.takes(of.status) {
			continue
		}
		content, err := p.artifact(ctx, m, of.artifact)
		if errors.Is(err, errNotThere) {
			continue
		}
		if err != nil {
			return ivyFound{}, err
		}
		return ivyFound{revision, content}, nil
	}
	return ivyFound{}, errNotThere
}

// built is a module of a revision, with the build that a Maven snapshot stands for.
func (p ivyPlace) built(ctx context.Context, m ivyModule, revision string) (ivyModule, error) {
	m.revision, m.build = revision, revision
	if p.snapshots == nil || !strings.HasSuffix(revision, snapshot) {
		return m, nil
	}
	of, err := p.metadata(ctx, *p.snapshots, m)
	m.build = of.value(coordinates{extension: "jar"}, revision)
	return m, err
}

func (p ivyPlace) artifact(ctx context.Context, m ivyModule, a ivyArtifact) (Content, error) {
	for _, at := range p.artifacts {
		address := p.filled(at.text, m, a)
		got, err := p.cache.get(ctx, wanted{key: p.key + address, ask: at.web.fresh(address, at.show)})
		if !isNotThere(err) {
			return got, err
		}
	}
	return Content{}, errNotThere
}

func isNotThere(err error) bool {
	var of *statusError
	return errors.As(err, &of) && (of.code == http.StatusNotFound || of.code == http.StatusGone)
}

// ivyArtifact is a file of a module.
type ivyArtifact struct{ name, kind, ext string }

// filled is a pattern with its tokens replaced (Ivy's manual, concept: patterns).
func (p ivyPlace) filled(pattern string, m ivyModule, a ivyArtifact) string {
	organisation := url.PathEscape(m.organisation)
	folders := strings.ReplaceAll(organisation, ".", "/")
	if p.slashes {
		organisation = folders
	}
	values := map[string]string{
		"organisation": organisation, "organization": organisation, "orgPath": folders, "module": url.PathEscape(m.module),
		"revision": url.PathEscape(m.revision), "artifact": url.PathEscape(a.name), "originalname": url.PathEscape(a.name),
		"type": url.PathEscape(a.kind), "ext": url.PathEscape(a.ext), "conf": "master",
	}
	folder, file := path.Split(pattern)
	pattern = folder + strings.ReplaceAll(file, "[revision]", url.PathEscape(m.build))
	pattern = ivyOptional.ReplaceAllStringFunc(pattern, func(part string) string {
		for _, token := range ivyToken.FindAllStringSubmatch(part, -1) {
			if values[token[1]] == "" {
				return ""
			}
		}
		return strings.Trim(part, "()")
	})
	return ivyToken.ReplaceAllStringFunc(pattern, func(token string) string { return values[strings.Trim(token, "[]")] })
}

var (
	ivyToken    = regexp.MustCompile(`\[([A-Za-z]+)\]`)
	ivyOptional = regexp.MustCompile(`\([^()]*\)`)
)

// ivyDescribed is what a descriptor says of its module.
type ivyDescribed struct {
	status   string
	artifact ivyArtifact
}

// ivyXML is an ivy file (Ivy's manual, ivyfile), or a POM.
type ivyXML struct {
	XMLName xml.Name
	Info    struct {
		Status string `xml:"status,attr"`
	} `xml:"info"`
	Publications *struct {
		DefaultConf string `xml:"defaultconf,attr"`
		Artifacts   []struct {
			Name string `xml:"name,attr"`
			Type string `xml:"type,attr"`
			Ext  string `xml:"ext,attr"`
			Conf string `xml:"conf,attr"`
			In   []struct {
				Name string `xml:"name,attr"`
			} `xml:"conf"`
		} `xml:"artifact"`
	} `xml:"publications"`
	Packaging string `xml:"packaging"`
}

// mostDescriptor bounds an ivy file, a POM, and a list of revisions.
const mostDescriptor = 16 << 20

// descriptor reads what is said of a module. One that nobody describes has one jar.
func (p ivyPlace) descriptor(ctx context.Context, m ivyModule) (ivyDescribed, error) {
	out := ivyDescribed{"release", ivyArtifact{m.module, "jar", "jar"}}
	if strings.HasSuffix(m.revision, snapshot) {
		out.status = "integration"
	}
	for _, at := range p.descriptors {
		descriptor := ivyArtifact{"ivy", "ivy", "xml"}
		if p.snapshots != nil { // a POM has the name of its module
			descriptor = ivyArtifact{m.module, "pom", "pom"}
		}
		body, err := p.read(ctx, at, p.filled(at.text, m, descriptor))
		if isNotThere(err) {
			continue
		}
		if err != nil {
			return out, err
		}
		var of ivyXML
		if err := readXML(body, &of); err != nil {
			return out, fmt.Errorf("the descriptor of %s#%s;%s cannot be read: %w", m.organisation, m.module, m.revision, err)
		}
		if of.XMLName.Local == "project" {
			return p.packaged(out, of.Packaging), nil
		}
		return p.published(out, of, m)
	}
	return out, nil
}

// packaged is the file of a POM.
func (ivyPlace) packaged(out ivyDescribed, packaging string) ivyDescribed {
	jars := []string{"", "jar", "pom", "ejb", "bundle", "eclipse-plugin", "eclipse-test-plugin", "maven-plugin", "maven-archetype"}
	if !slices.Contains(jars, packaging) {
		out.artifact.kind, out.artifact.ext = packaging, packaging
	}
	return out
}

// published is the first artifact of an ivy file that is in one of the
// configurations.
func (p ivyPlace) published(out ivyDescribed, of ivyXML, m ivyModule) (ivyDescribed, error) {
	out.status = of.Info.Status
	if out.status == "" {
		out.status = "integration"
	}
	if of.Publications == nil {
		return out, nil
	}
	for _, a := range of.Publications.Artifacts {
		confs := strings.FieldsFunc(a.Conf, func(r rune) bool { return r == ',' || r == ' ' })
		for _, in := range a.In {
			confs = append(confs, in.Name)
		}
		if len(confs) == 0 && of.Publications.DefaultConf != "" {
			confs = strings.Split(of.Publications.DefaultConf, ",")
		}
		if !p.wants(confs) {
			continue
		}
		if a.Name != "" {
			out.artifact.name = a.Name
		}
		if a.Type != "" {
			out.artifact.kind, out.artifact.ext = a.Type, a.Type
		}
		if a.Ext != "" {
			out.artifact.ext = a.Ext
		}
		return out, nil
	}
	return out, fmt.Errorf("%s#%s;%s publishes nothing in the configurations %s: see resolveConfigurations", m.organisation, m.module, m.revision, strings.Join(p.confs, ", "))
}

// wants says whether an artifact of some configurations is wanted. One of none is
// in all of them.
func (p ivyPlace) wants(confs []string) bool {
	return len(confs) == 0 || slices.ContainsFunc(confs, func(c string) bool {
		c = strings.TrimSpace(c)
		return c == "*" || slices.Contains(p.confs, c) || slices.Contains(p.confs, "*")
	})
}

// revisions are all that a repository has of a module.
func (p ivyPlace) revisions(ctx context.Context, m ivyModule) ([]string, error) {
	if p.listing != nil {
		of, err := p.metadata(ctx, *p.listing, m)
		return of.Versions, err
	}
	var out []string
	for _, at := range slices.Concat(p.descriptors, p.artifacts) {
		found, err := p.listed(ctx, at, m)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// metadata is what a Maven repository says of a module or of a snapshot; nothing
// when it says nothing.
func (p ivyPlace) metadata(ctx context.Context, at ivyPattern, m ivyModule) (metadata, error) {
	var of metadata
	body, err := p.read(ctx, at, p.filled(at.text, m, ivyArtifact{}))
	if isNotThere(err) {
		return of, nil
	}
	if err != nil {
		return of, err
	}
	return metadataOf(body)
}

var ivyLink = regexp.MustCompile(`(?i)\bhref\s*=\s*["']([^"'?#]+)["']`)

// listed reads revisions from the page that lists a folder.
func (p ivyPlace) listed(ctx context.Context, at ivyPattern, m ivyModule) ([]string, error) {
	const token = "[revision]"
	before, _, has := strings.Cut(at.text, token)
	if !has {
		return nil, nil
	}
	folder := before[:strings.LastIndex(before, "/")+1]
	name, _, deeper := strings.Cut(at.text[len(folder):], "/")
	address := p.filled(folder, m, ivyArtifact{m.module, "jar", "jar"})
	body, err := p.read(ctx, at, address)
	if isNotThere(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	before, after, _ := strings.Cut(name, token)
	filled := func(text string) string {
		return regexp.QuoteMeta(p.filled(strings.ReplaceAll(text, token, ""), m, ivyArtifact{m.module, "jar", "jar"}))
	}
	matches, err := regexp.Compile("^" + filled(before) + `(.+)` + filled(after) + "$")
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", at.text, err)
	}
	var out []string
	for _, link := range ivyLink.FindAllSubmatch(body, -1) {
		text := string(link[1])
		if deeper != strings.HasSuffix(text, "/") {
			continue
		}
		unescaped, err := url.PathUnescape(path.Base(text))
		if err != nil || unescaped == ".." || unescaped == "." {
			continue
		}
		if of := matches.FindStringSubmatch(unescaped); of != nil {
			out = append(out, of[1])
		}
	}
	return out, nil
}

// read is a small file.
func (p ivyPlace) read(ctx context.Context, at ivyPattern, address string) ([]byte, error) {
	return p.cache.small(ctx, wanted{key: p.key + address, bound: mostDescriptor, ask: at.web.fresh(address, at.show)})
}
