package artifact

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	maven "github.com/masahiro331/go-mvn-version"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// mavenFile is a file of a Maven repository (artifacts.md 5.12).
type mavenFile struct {
	web     *web
	account config.ArtifactAccount
	cache   *cache
}

// coordinates are what a reference names.
type coordinates struct {
	group, artifact, extension, classifier, version string
}

// coordinatesOf reads group:artifact[:extension[:classifier]]:version.
func coordinatesOf(reference string) (coordinates, error) {
	parts := strings.Split(reference, ":")
	const least, most = 3, 5
	if len(parts) < least || len(parts) > most || slices.Contains(parts, "") {
		return coordinates{}, refused("Maven references must be of the format <group>:<artifact>[:<extension>[:<classifier>]]:<version>, got: %s", reference)
	}
	c := coordinates{group: parts[0], artifact: parts[1], extension: "jar", version: parts[len(parts)-1]}
	if len(parts) > least {
		c.extension = parts[2]
	}
	if len(parts) == most {
		c.classifier = parts[3]
	}
	return c, nil
}

func (c coordinates) folder() string {
	return "/" + strings.ReplaceAll(c.group, ".", "/") + "/" + c.artifact
}

// file is the name of what is fetched; value stands for the version in it.
func (c coordinates) file(value string) string {
	name := c.artifact + "-" + value
	if c.classifier != "" {
		name += "-" + c.classifier
	}
	return name + "." + c.extension
}

// metadata is what maven-metadata.xml says (Maven's repository metadata model).
type metadata struct {
	Versions []string `xml:"versioning>versions>version"`
	Snapshot struct {
		Timestamp   string `xml:"timestamp"`
		BuildNumber string `xml:"buildNumber"`
	} `xml:"versioning>snapshot"`
	SnapshotVersions []struct {
		Extension  string `xml:"extension"`
		Classifier string `xml:"classifier"`
		Value      string `xml:"value"`
	} `xml:"versioning>snapshotVersions>snapshotVersion"`
}

// mostMavenMetadata bounds maven-metadata.xml.
const mostMavenMetadata = 16 << 20

const snapshot = "-SNAPSHOT"

func (m mavenFile) fetch(ctx context.Context, a spinnaker.Artifact) (Content, error) {
	c, err := coordinatesOf(a.Reference)
	if err != nil {
		return Content{}, err
	}
	version, value := c.version, c.version
	if !strings.HasSuffix(version, snapshot) {
		of, err := m.metadata(ctx, c.folder())
		if err != nil {
			return Content{}, err
		}
		if version, err = matching(of.Versions, c.version); err != nil {
			return Content{}, err
		}
		value = version
	}
	if strings.HasSuffix(version, snapshot) {
		of, err := m.metadata(ctx, c.folder()+"/"+version)
		if err != nil {
			return Content{}, err
		}
		value = of.value(c, version)
	}
	address, err := m.address(c.folder() + "/" + version + "/" + c.file(value))
	if err != nil {
		return Content{}, err
	}
	return m.cache.get(ctx, wanted{key: "maven\x00" + m.account.Name + "\x00" + address, ask: m.web.fresh(address, http.Header{})})
}

func (m mavenFile) address(path string) (string, error) {
	escaped, err := escapedPath(path)
	return strings.TrimSuffix(m.account.RepositoryURL, "/") + escaped, err
}

func (m mavenFile) metadata(ctx context.Context, folder string) (metadata, error) {
	var out metadata
	address, err := m.address(folder + "/maven-metadata.xml")
	if err != nil {
		return out, err
	}
	body, err := m.cache.small(ctx, wanted{key: "maven\x00" + m.account.Name + "\x00" + address, bound: mostMavenMetadata, ask: m.web.fresh(address, http.Header{})})
	if err != nil {
		return out, err
	}
	return metadataOf(body)
}

func metadataOf(body []byte) (metadata, error) {
	var out metadata
	if err := readXML(body, &out); err != nil {
		return out, fmt.Errorf("maven-metadata.xml cannot be read: %w", err)
	}
	return out, nil
}

// value is what stands for a snapshot in the names of its files.
func (m metadata) value(c coordinates, version string) string {
	for _, of := range m.SnapshotVersions {
		if of.Extension == c.extension && of.Classifier == c.classifier {
			return of.Value
		}
	}
	if s := m.Snapshot; s.Timestamp != "" {
		return strings.TrimSuffix(version, snapshot) + "-" + s.Timestamp + "-" + s.BuildNumber
	}
	return version
}

// matching is the greatest version that a constraint allows.
func matching(versions []string, constraint string) (string, error) {
	allows := func(v string) (bool, error) { return v == constraint, nil }
	switch constraint {
	case "RELEASE", "latest.release":
		allows = func(v string) (bool, error) { return !strings.HasSuffix(v, snapshot), nil }
	case "LATEST", "SNAPSHOT", "latest.integration":
		allows = func(string) (bool, error) { return true, nil }
	default:
		if strings.ContainsAny(constraint, "[(") {
			ranges, err := rangesOf(constraint)
			if err != nil {
				return "", err
			}
			allows = ranges.allow
		}
	}
	best, found := maven.Version{}, ""
	for _, text := range versions {
		ok, err := allows(text)
		if err != nil {
			return "", err
		}
		v, err := maven.NewVersion(text)
		if !ok || err != nil { // what is no version is none
			continue
		}
		if found == "" || v.GreaterThan(best) {
			best, found = v, text
		}
	}
	if found == "" {
		return "", fmt.Errorf("No versions matching constraint '%s'", constraint) //nolint:staticcheck // Java's text
	}
	return found, nil
}

// bound is one end of a range.
type bound struct {
	version  maven.Version
	open     bool // it goes on for ever
	included bool
}

type versionRange struct{ low, high bound }

type ranges []versionRange

// rangesOf reads ranges like [1.0,2.0),[3.0] (Maven's version range specification).
func rangesOf(text string) (ranges, error) {
	bad := func() (ranges, error) {
		return nil, refused("version: %q is no range like [1.0,2.0)", text)
	}
	var out ranges
	for rest := text; rest != ""; {
		end := strings.IndexAny(rest, ")]")
		if end < 0 || rest[0] != '[' && rest[0] != '(' {
			return bad()
		}
		low, high, two := strings.Cut(rest[1:end], ",")
		if !two {
			high = low
		}
		var r versionRange
		var err error
		if r.low, err = boundOf(low, rest[0] == '['); err != nil {
			return bad()
		}
		if r.high, err = boundOf(high, rest[end] == ']'); err != nil || !two && (low == "" || !r.low.included || !r.high.included) {
			return bad()
		}
		out = append(out, r)
		rest = strings.TrimPrefix(rest[end+1:], ",")
	}
	return out, nil
}

func boundOf(text string, included bool) (bound, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return bound{open: true}, nil
	}
	v, err := maven.NewVersion(text)
	return bound{version: v, included: included}, err
}

func (rs ranges) allow(text string) (bool, error) {
	v, err := maven.NewVersion(text)
	if err != nil {
		return false, nil //nolint:nilerr // what is no version is in no range
	}
	return slices.ContainsFunc(rs, func(r versionRange) bool {
		above := r.low.open || v.GreaterThan(r.low.version) || r.low.included && v.Equal(r.low.version)
		below := r.high.open || v.LessThan(r.high.version) || r.high.included && v.Equal(r.high.version)
		return above && below
	}), nil
}
