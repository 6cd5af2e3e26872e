package artifact

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// Where ibiblio's resolver looks without a root and a pattern (Ivy's manual,
// resolver/ibiblio).
const (
	ivyRoot      = "https://repo1.maven.org/maven2/"
	ivyLayout    = "[module]/[type]s/[artifact]-[revision].[ext]"
	mavenLayout  = "[organisation]/[module]/[revision]/[artifact]-[revision](-[classifier]).[ext]"
	mavenListing = "[organisation]/[module]/maven-metadata.xml"
	mavenBuilds  = "[organisation]/[module]/[revision]/maven-metadata.xml"
)

// ivy makes an account of Ivy's settings.
func (b *builder) ivy(c config.ArtifactAccount) (fetcher, error) {
	of := ivyBuilder{account: c, cache: b.cache}
	if len(c.ResolveConfigurations) == 0 {
		of.account.ResolveConfigurations = []string{"master"}
	}
	all, err := of.all(c.Settings.Resolvers)
	if err != nil {
		return nil, fmt.Errorf("settings.resolvers.%w", err)
	}
	if len(all) == 0 {
		return nil, errors.New("settings.resolvers: at least one ivy resolver is required")
	}
	name := c.Settings.Settings.DefaultResolver
	if name == "" {
		return ivyFile{all[0].resolver}, nil
	}
	for _, r := range all {
		if r.name == name {
			return ivyFile{r.resolver}, nil
		}
	}
	return nil, fmt.Errorf("settings.settings.defaultResolver: there is no resolver %q", name)
}

type ivyBuilder struct {
	account config.ArtifactAccount
	cache   *cache
}

type namedResolver struct {
	name     string
	resolver ivyResolver
}

// all are the resolvers in Java Clouddriver's order, the first of which is the
// default.
func (b ivyBuilder) all(of config.IvyResolvers) ([]namedResolver, error) {
	out, err := b.places(of.IvyPlaces)
	if err != nil {
		return nil, err
	}
	for i, c := range of.Chain {
		in, err := b.places(c.IvyPlaces)
		if err != nil {
			return nil, fmt.Errorf("chain[%d].%w", i, err)
		}
		chain := ivyChain{returnFirst: c.ReturnFirst}
		for _, r := range in {
			chain.of = append(chain.of, r.resolver)
		}
		out = append(out, namedResolver{c.Name, chain})
	}
	return out, nil
}

func (b ivyBuilder) places(of config.IvyPlaces) ([]namedResolver, error) {
	if len(of.Bintray) > 0 {
		return nil, errors.New("bintray: the service has ended in 2021; name another repository")
	}
	if len(of.SSH) > 0 {
		return nil, errors.New("ssh: only url, ibiblio and chain are served here")
	}
	var out []namedResolver
	for i, c := range of.URL {
		r, err := b.url(c)
		if err != nil {
			return nil, fmt.Errorf("url[%d].%w", i, err)
		}
		out = append(out, namedResolver{c.Name, r})
	}
	for i, c := range of.IBiblio {
		r, err := b.ibiblio(c)
		if err != nil {
			return nil, fmt.Errorf("ibiblio[%d].%w", i, err)
		}
		out = append(out, namedResolver{c.Name, r})
	}
	return out, nil
}

func (b ivyBuilder) place(slashes bool) ivyPlace {
	return ivyPlace{slashes: slashes, cache: b.cache, key: "ivy\x00" + b.account.Name + "\x00", confs: b.account.ResolveConfigurations}
}

func (b ivyBuilder) url(c config.IvyURL) (ivyPlace, error) {
	out := b.place(c.M2Compatible)
	var err error
	if out.descriptors, err = b.patterns("ivy", c.Ivy); err != nil {
		return out, err
	}
	if out.artifacts, err = b.patterns("artifact", c.Artifact); err != nil {
		return out, err
	}
	if len(out.artifacts) == 0 {
		return out, errors.New("artifact: no pattern says where artifacts are")
	}
	return out, nil
}

func (b ivyBuilder) patterns(key string, of []config.IvyPattern) ([]ivyPattern, error) {
	out := make([]ivyPattern, 0, len(of))
	for i, c := range of {
		p, err := b.pattern(c.Pattern)
		if err != nil {
			return nil, fmt.Errorf("%s[%d].pattern: %w", key, i, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// ibiblio is a repository of Maven's layout, or of ibiblio's own.
func (b ivyBuilder) ibiblio(c config.IvyIBiblio) (ivyPlace, error) {
	root, layout := c.Root, c.Pattern
	if root == "" {
		root = ivyRoot
	}
	if layout == "" {
		layout = ivyLayout
		if c.M2Compatible {
			layout = mavenLayout
		}
	}
	at := func(layout string) (ivyPattern, error) {
		return b.pattern(strings.TrimSuffix(root, "/") + "/" + layout)
	}
	out := b.place(c.M2Compatible)
	files, err := at(layout)
	if err != nil {
		return out, fmt.Errorf("root: %w", err)
	}
	out.artifacts = []ivyPattern{files}
	if !c.M2Compatible {
		return out, nil
	}
	if yes(c.UsePoms) {
		out.descriptors = out.artifacts
	}
	builds, err := at(mavenBuilds)
	if err != nil {
		return out, fmt.Errorf("root: %w", err)
	}
	out.snapshots = &builds
	if yes(c.UseMavenMetadata) {
		listing, err := at(mavenListing)
		if err != nil {
			return out, fmt.Errorf("root: %w", err)
		}
		out.listing = &listing
	}
	return out, nil
}

func yes(set *bool) bool { return set == nil || *set }

// pattern is a place on a host that the configuration names. The host's own
// credentials are shown there, and nowhere else.
func (b ivyBuilder) pattern(text string) (ivyPattern, error) {
	before, _, _ := strings.Cut(text, "[")
	rules, err := configured(b.account.Name, before)
	if err != nil {
		return ivyPattern{}, fmt.Errorf("%q %w", text, err)
	}
	out := ivyPattern{text: text, web: newWeb(rules, before), show: http.Header{}}
	of := b.account.Settings.Credentials
	u, err := url.Parse(before)
	if err != nil || u.Path == "" {
		return out, fmt.Errorf("%q: the host must end with a slash before the first token", text)
	}
	if of.Username != "" && strings.EqualFold(u.Hostname(), of.Host) {
		show := http.Request{Header: out.show}
		show.SetBasicAuth(of.Username, of.Password)
	}
	return out, nil
}
