package index

import (
	"hash/maphash"
	"strings"
	"unique"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// commons are texts that came lately, and what was made of them: most of what an object
// says, its neighbours in a list have said just before. Each has one place, and what
// comes later takes it.
type commons struct {
	texts   *[mostCommon]string
	handles *[mostCommon]unique.Handle[string]
	owners  *[mostCommon]*Owner
}

// mostCommon is a power of two.
const mostCommon = 512

var commonSeed = maphash.MakeSeed()

func placeOf(text []byte) int { return int(maphash.Bytes(commonSeed, text) & (mostCommon - 1)) }

// text is a text of its own, the same one as before where it came before.
func (c *commons) text(of []byte) string {
	const long = 256 // what is longer is seldom common
	if len(of) == 0 {
		return ""
	}
	if len(of) > long {
		return string(of)
	}
	if c.texts == nil {
		c.texts = &[mostCommon]string{}
	}
	at := &c.texts[placeOf(of)]
	if *at != string(of) {
		*at = string(of)
	}
	return *at
}

// handle stands for a text.
func (c *commons) handle(of []byte) unique.Handle[string] {
	if len(of) == 0 {
		return unique.Handle[string]{}
	}
	if c.handles == nil {
		c.handles = &[mostCommon]unique.Handle[string]{}
	}
	at := &c.handles[placeOf(of)]
	if *at == (unique.Handle[string]{}) || at.Value() != string(of) {
		*at = unique.Make(string(of))
	}
	return *at
}

// owner is that of a reference.
func (c *commons) owner(of *wireOwner) *Owner {
	if c.owners == nil {
		c.owners = &[mostCommon]*Owner{}
	}
	group, _, found := strings.Cut(c.text(of.apiVersion), "/")
	if !found {
		group = ""
	}
	kind := spinnaker.KindText(group, c.text(of.kind))
	at := &c.owners[placeOf(of.uid)]
	if *at == nil || (*at).UID != string(of.uid) || (*at).Name != string(of.name) || (*at).Kind != kind {
		made := ownerOf(kind, string(of.name), string(of.uid))
		*at = &made
	}
	return *at
}
