package artifact

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ivyRevision is a revision as Ivy orders them (Apache Ivy's manual, settings/
// latest-strategies): part by part, numbers after words, with words that have a
// place of their own.
type ivyRevision []string

var ivyParts = regexp.MustCompile(`[0-9]+|[^0-9._+-]+`)

func ivyRevisionOf(text string) ivyRevision { return ivyParts.FindAllString(text, -1) }

// ivyWords are the words that do not stand in the order of their letters.
var ivyWords = map[string]int{"dev": -1, "rc": 1, "final": 2}

func (r ivyRevision) compare(other ivyRevision) int {
	for i := range min(len(r), len(other)) {
		if c := comparePart(r[i], other[i]); c != 0 {
			return c
		}
	}
	if len(r) == len(other) {
		return 0
	}
	if len(r) > len(other) {
		return longer(r[len(other)])
	}
	return -longer(other[len(r)])
}

// longer says where the longer one stands: 1.0.1 after 1.0, and 1.0-rc before it.
func longer(next string) int {
	if _, err := strconv.Atoi(next); err == nil {
		return 1
	}
	return -1
}

func comparePart(a, b string) int {
	an, aErr := strconv.Atoi(a)
	bn, bErr := strconv.Atoi(b)
	switch {
	case aErr == nil && bErr == nil:
		return an - bn
	case aErr == nil:
		return 1
	case bErr == nil:
		return -1
	}
	if c := ivyWords[strings.ToLower(a)] - ivyWords[strings.ToLower(b)]; c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

// ivyConstraint is the revision of a reference: one, or which of them.
type ivyConstraint struct {
	text string
	// status is the least that latest.STATUS asks for.
	status string
	// prefix is what stands before the plus of a revision like 1.0.+
	prefix   string
	low      ivyBound
	high     ivyBound
	isRange  bool
	isPrefix bool
}

type ivyBound struct {
	revision ivyRevision
	open     bool // it goes on for ever
	included bool
}

var ivyRange = regexp.MustCompile(`^([\[(\]])\s*([^,\s]*)\s*,\s*([^,\s]*)\s*([\])\[])$`)

// ivyConstraintOf reads a revision as Ivy's manual writes them (ivyfile/dependency).
func ivyConstraintOf(text string) (ivyConstraint, error) {
	c := ivyConstraint{text: text}
	if status, latest := strings.CutPrefix(text, "latest."); latest {
		if !slices.Contains(ivyStatuses, status) {
			return c, refused("Ivy revision %q: latest. is followed by one of %s", text, strings.Join(ivyStatuses, ", "))
		}
		c.status = status
		return c, nil
	}
	if prefix, some := strings.CutSuffix(text, "+"); some {
		c.isPrefix, c.prefix = true, prefix
		return c, nil
	}
	if !strings.ContainsAny(text, "[](),") {
		return c, nil
	}
	of := ivyRange.FindStringSubmatch(text)
	if of == nil || of[2] == "" && of[3] == "" {
		return c, refused("Ivy revision %q is no range like [1.0,2.0[", text)
	}
	c.isRange = true
	c.low = ivyBound{ivyRevisionOf(of[2]), of[2] == "", of[1] == "["}
	c.high = ivyBound{ivyRevisionOf(of[3]), of[3] == "", of[4] == "]"}
	return c, nil
}

// ivyStatuses are the ones of Ivy, the most mature first.
var ivyStatuses = []string{"release", "milestone", "integration"}

// exact says whether only one revision can be meant, so that nothing has to be
// listed.
func (c ivyConstraint) exact() bool { return c.status == "" && !c.isPrefix && !c.isRange }

// allows says whether a revision is among those that are meant, as far as its text
// tells.
func (c ivyConstraint) allows(text string) bool {
	switch {
	case c.status != "":
		return true
	case c.isPrefix:
		return strings.HasPrefix(text, c.prefix)
	case c.isRange:
		r := ivyRevisionOf(text)
		return c.low.below(r) && c.high.above(r)
	}
	return text == c.text
}

func (b ivyBound) below(r ivyRevision) bool {
	c := r.compare(b.revision)
	return b.open || c > 0 || c == 0 && b.included
}

func (b ivyBound) above(r ivyRevision) bool {
	c := r.compare(b.revision)
	return b.open || c < 0 || c == 0 && b.included
}

// takes says whether a module of that status is mature enough.
func (c ivyConstraint) takes(status string) bool {
	if !slices.Contains(ivyStatuses, status) {
		status = "integration" // nothing is less mature
	}
	return c.status == "" || slices.Index(ivyStatuses, status) <= slices.Index(ivyStatuses, c.status)
}

// latestFirst are the revisions that are meant, the greatest one first.
func (c ivyConstraint) latestFirst(revisions []string) []string {
	out := slices.DeleteFunc(slices.Clone(revisions), func(r string) bool { return !c.allows(r) })
	slices.SortStableFunc(out, func(a, b string) int { return ivyRevisionOf(b).compare(ivyRevisionOf(a)) })
	return out
}
