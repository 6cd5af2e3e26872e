package compare

import (
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is how two answers differ.
type Kind string

// The kinds of differences.
const (
	// OnlyHere is a row or a key that the other one has not, OnlyThere one that
	// it has.
	OnlyHere  Kind = "only here"
	OnlyThere Kind = "only there"
	// Value is another value, or one of another type.
	Value Kind = "value"
	// Status is another HTTP status.
	Status Kind = "status"
)

// Difference is one place of one answer.
type Difference struct {
	// Route is what was asked, Pattern the same with its names left out.
	Route   string `json:"route"`
	Pattern string `json:"pattern"`
	// Where is the place within the answer; rows are named by what identifies
	// them.
	Where string `json:"where,omitempty"`
	Kind  Kind   `json:"kind"`
	Here  any    `json:"here,omitempty"`
	There any    `json:"there,omitempty"`
}

// Diff compares two decoded answers, whose numbers are json.Number. Route and
// Pattern are left empty.
func Diff(here, there any) []Difference {
	d := differ{}
	d.compare("", "", here, there)
	return d.found
}

type differ struct{ found []Difference }

func (d *differ) note(where string, kind Kind, here, there any) {
	d.found = append(d.found, Difference{Where: where, Kind: kind, Here: here, There: there})
}

// compare compares what stands under a key.
func (d *differ) compare(where, key string, here, there any) {
	switch a := here.(type) {
	case nil:
		if there != nil {
			d.note(where, OnlyThere, nil, there)
		}
		return
	case map[string]any:
		if b, ok := there.(map[string]any); ok {
			d.objects(where, a, b)
			return
		}
	case []any:
		if b, ok := there.([]any); ok {
			d.lists(where, key, a, b)
			return
		}
	}
	switch {
	case there == nil:
		d.note(where, OnlyHere, here, nil)
	case !sameScalar(key, here, there):
		d.note(where, Value, here, there)
	}
}

func (d *differ) objects(where string, here, there map[string]any) {
	keys := make([]string, 0, len(here))
	for key := range here {
		keys = append(keys, key)
	}
	for key := range there {
		if _, both := here[key]; !both {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		// A key that is absent reads as one that is null.
		d.compare(where+"."+key, key, here[key], there[key])
	}
}

// inOrder are lists whose order has a meaning.
var inOrder = map[string]bool{"args": true, "command": true, "initContainers": true, "finalizers": true}

func (d *differ) lists(where, key string, here, there []any) {
	if inOrder[key] {
		d.pairs(where, here, there)
		return
	}
	name, identified := namer(key, here, there)
	rows := map[string][]any{}
	for _, row := range there {
		rows[name(row)] = append(rows[name(row)], row)
	}
	var left, right []any
	for _, row := range here {
		id := name(row)
		if len(rows[id]) == 0 {
			left = append(left, row)
			continue
		}
		d.compare(where+"["+id+"]", key, row, rows[id][0])
		rows[id] = rows[id][1:]
	}
	for _, row := range there {
		if id := name(row); len(rows[id]) > 0 {
			rows[id] = rows[id][1:]
			right = append(right, row)
		}
	}
	if !identified { // what is left over may be the same, changed
		both := min(len(left), len(right))
		d.pairs(where, left[:both], right[:both])
		left, right = left[both:], right[both:]
	}
	for _, row := range left {
		d.note(where+"["+name(row)+"]", OnlyHere, row, nil)
	}
	for _, row := range right {
		d.note(where+"["+name(row)+"]", OnlyThere, nil, row)
	}
}

// pairs compares lists place by place.
func (d *differ) pairs(where string, here, there []any) {
	for i := range max(len(here), len(there)) {
		var a, b any
		if i < len(here) {
			a = here[i]
		}
		if i < len(there) {
			b = there[i]
		}
		d.compare(where+"["+strconv.Itoa(i)+"]", "", a, b)
	}
}

// identities are the keys that tell the rows of a list apart, the first that
// do being taken.
var identities = [][]string{
	{"account", "region", "name"}, {"account", "location", "name"}, {"account", "namespace", "name", "kind"}, {"account", "name"},
	{"name"}, {"id"}, {"key"}, {"uid"}, {"type", "reason"}, {"type"}, {"containerPort", "protocol"}, {"port", "protocol"}, {"ip"}, {"reference"},
}

// namer finds what rows of two lists are known by; rows without an identity
// by all that they mean.
func namer(key string, here, there []any) (name func(any) string, identified bool) {
	for _, keys := range identities {
		if tells(keys, here) && tells(keys, there) {
			return func(row any) string { return named(keys, row) }, true
		}
	}
	return func(row any) string { return canonical(meaning(key, row)) }, false
}

// meaning is a value without what makes no difference.
func meaning(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, inner := range v {
			if inner != nil {
				out[k] = meaning(k, inner)
			}
		}
		return out
	case []any:
		out := make([]any, 0, len(v))
		for _, inner := range v {
			out = append(out, meaning(key, inner))
		}
		if !inOrder[key] {
			slices.SortFunc(out, func(a, b any) int { return strings.Compare(canonical(a), canonical(b)) })
		}
		return out
	}
	if at, ok := momentOf(key, v); ok {
		return at.Format(time.RFC3339)
	}
	if n, ok := v.(json.Number); ok {
		if f, _, err := big.ParseFloat(n.String(), 10, numberBits, big.ToNearestEven); err == nil {
			return json.Number(f.Text('g', -1))
		}
	}
	return v
}

func tells(keys []string, rows []any) bool {
	seen := map[string]bool{}
	for _, row := range rows {
		object, ok := row.(map[string]any)
		if !ok || slices.ContainsFunc(keys, func(key string) bool { return object[key] == nil }) {
			return false
		}
		id := named(keys, row)
		if seen[id] {
			return false
		}
		seen[id] = true
	}
	return true
}

func named(keys []string, row any) string {
	object, _ := row.(map[string]any)
	parts := make([]string, 0, len(keys))
	for _, key := range keys {
		text, ok := object[key].(string)
		if !ok {
			text = canonical(object[key])
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

// canonical spells equal values equally: keys are sorted, numbers are decimal.
func canonical(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}

// sameScalar compares two values of which at most one is an object or a list.
func sameScalar(key string, here, there any) bool {
	if a, ok := momentOf(key, here); ok {
		if b, ok := momentOf(key, there); ok {
			return a.Equal(b)
		}
	}
	a, isNumber := here.(json.Number)
	b, areNumbers := there.(json.Number)
	if isNumber && areNumbers {
		return sameNumber(a, b)
	}
	if isNumber != areNumbers {
		return false
	}
	return canonical(here) == canonical(there)
}

func sameNumber(a, b json.Number) bool {
	x, _, errA := big.ParseFloat(a.String(), 10, numberBits, big.ToNearestEven)
	y, _, errB := big.ParseFloat(b.String(), 10, numberBits, big.ToNearestEven)
	return errA == nil && errB == nil && x.Cmp(y) == 0
}

// numberBits hold every whole number of 64 bits.
const numberBits = 80

// momentOf reads a time to the second, which is what Kubernetes has: RFC 3339
// text anywhere, milliseconds since 1970 under a key that says so.
func momentOf(key string, v any) (time.Time, bool) {
	switch v := v.(type) {
	case string:
		at, err := time.Parse(time.RFC3339, v)
		return at.UTC().Truncate(time.Second), err == nil
	case json.Number:
		ms, err := v.Int64()
		if err != nil || ms < leastMillis || !isTime(key) {
			return time.Time{}, false
		}
		return time.UnixMilli(ms).UTC().Truncate(time.Second), true
	}
	return time.Time{}, false
}

// leastMillis is a time in 1973: what is less counts something else.
const leastMillis = 1e11

func isTime(key string) bool {
	return strings.HasSuffix(key, "Time") || strings.HasSuffix(key, "Ts") || strings.HasSuffix(strings.ToLower(key), "timestamp")
}
