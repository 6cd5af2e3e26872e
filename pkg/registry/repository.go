package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Family tells images and charts apart, which have the same names in one registry.
type Family string

// The families, by their names in paths and in the database.
const (
	Images Family = "images"
	Charts Family = "charts"
)

// Image is what is known of a digest. It never changes.
type Image struct {
	// Created is zero where nobody has said it.
	Created time.Time         `json:"created,omitzero"`
	Labels  map[string]string `json:"labels,omitempty"`
}

// Tag is one of a repository.
type Tag struct {
	Name string
	// Digest is "" where none was asked for, or none could be had.
	Digest string
	// Image is nil where nobody has looked.
	Image *Image
}

// created is zero where nobody has said it.
func (t Tag) created() time.Time {
	if t.Image == nil {
		return time.Time{}
	}
	return t.Image.Created
}

// Repository is what is known of one. A value is not changed once others have it.
type Repository struct {
	Name string
	Tags []Tag // by name

	version int64 // as the database has it
}

// newRepository sorts tags, and has each once.
func newRepository(name string, tags []Tag) *Repository {
	slices.SortFunc(tags, func(a, b Tag) int { return strings.Compare(a.Name, b.Name) })
	tags = slices.CompactFunc(tags, func(a, b Tag) bool { return a.Name == b.Name })
	return &Repository{Name: name, Tags: tags}
}

// tag finds one by its name.
func (r *Repository) tag(name string) (Tag, bool) {
	if r == nil {
		return Tag{}, false
	}
	at, ok := slices.BinarySearchFunc(r.Tags, name, func(t Tag, name string) int { return strings.Compare(t.Name, name) })
	if !ok {
		return Tag{}, false
	}
	return r.Tags[at], true
}

// images are those of a repository that are known, by digest.
func (r *Repository) images() map[string]*Image {
	out := map[string]*Image{}
	if r == nil {
		return out
	}
	for _, t := range r.Tags {
		if t.Image != nil {
			out[t.Digest] = t.Image
		}
	}
	return out
}

// same says whether both tell the same.
func (r *Repository) same(other *Repository) bool {
	if r == nil || other == nil {
		return r == other
	}
	return slices.EqualFunc(r.Tags, other.Tags, func(a, b Tag) bool {
		return a.Name == b.Name && a.Digest == b.Digest && a.Image.same(b.Image)
	})
}

func (i *Image) same(other *Image) bool {
	if i == nil || other == nil {
		return i == other
	}
	return i.Created.Equal(other.Created) && maps.Equal(i.Labels, other.Labels)
}

// partTags is how many tags a row of the database has at most: a row is sent in one
// packet.
const partTags = 20_000

// row is a part of a repository as the database keeps it. Of texts that many tags
// share, there is one.
type row struct {
	Tags    []string          `json:"tags"`
	Digests []string          `json:"digests,omitempty"` // as many, or none
	Images  map[string]*Image `json:"images,omitempty"`
}

// encode makes the parts of a repository.
func encode(r *Repository) ([][]byte, error) {
	var out [][]byte
	for tags := range slices.Chunk(r.Tags, partTags) {
		part, err := packed(rowOf(tags))
		if err != nil {
			return nil, err
		}
		out = append(out, part)
	}
	if out == nil { // without tags, there is one all the same
		part, err := packed(row{})
		return [][]byte{part}, err
	}
	return out, nil
}

func rowOf(tags []Tag) row {
	var out row
	for i, t := range tags {
		out.Tags = append(out.Tags, t.Name)
		if t.Digest != "" && out.Digests == nil {
			out.Digests = make([]string, len(tags))
		}
		if t.Digest != "" {
			out.Digests[i] = t.Digest
		}
		if t.Image != nil {
			if out.Images == nil {
				out.Images = map[string]*Image{}
			}
			out.Images[t.Digest] = t.Image
		}
	}
	return out
}

func packed(of any) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if err := json.NewEncoder(z).Encode(of); err != nil {
		return nil, err
	}
	err := z.Close()
	return out.Bytes(), err
}

// mostUnpacked bounds a row: it is ours, and was bounded when it was made.
const mostUnpacked = 1 << 30

func unpack(body []byte, into any) error {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return json.NewDecoder(io.LimitReader(z, mostUnpacked)).Decode(into)
}

// decode is the repository of its parts.
func decode(name string, version int64, parts [][]byte) (*Repository, error) {
	out := &Repository{Name: name, version: version}
	for _, part := range parts {
		var of row
		if err := unpack(part, &of); err != nil {
			return nil, err
		}
		if of.Digests != nil && len(of.Digests) != len(of.Tags) {
			return nil, fmt.Errorf("%d tags have %d digests", len(of.Tags), len(of.Digests))
		}
		for i, name := range of.Tags {
			t := Tag{Name: name}
			if of.Digests != nil {
				t.Digest = of.Digests[i]
				t.Image = of.Images[t.Digest]
			}
			out.Tags = append(out.Tags, t)
		}
	}
	return out, nil
}
