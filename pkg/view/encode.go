package view

import (
	"bytes"
	"encoding/json"
	"slices"
	"sync"
)

// encode writes JSON as Spinnaker's services do: without escaping <, > and &.
func encode(v any) []byte {
	b := encoding.Get().(*bytes.Buffer)
	defer encoding.Put(b)
	b.Reset()
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // the models hold only what encodes
	}
	return bytes.Clone(bytes.TrimSuffix(b.Bytes(), []byte("\n"))) // in no more room than it takes
}

// quote writes a text as encode does. Nearly all names are of letters that stand for
// themselves.
func quote(out []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return append(out, encode(text)...)
		}
	}
	out = append(out, '"')
	out = append(out, text...)
	return append(out, '"')
}

// encoding is room for what is being written.
var encoding = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Encode renders any of the package's models.
func Encode(model any) []byte { return encode(model) }

// Join makes a JSON array of rendered elements, without those that are left out. It is
// written over room, where it has the room.
func Join(room []byte, elements []Element) []byte {
	size := 2
	for _, e := range elements {
		size += len(e.JSON) + 1
	}
	out := append(slices.Grow(room[:0], size), '[')
	for _, e := range elements {
		if e.JSON == nil {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, e.JSON...)
	}
	return append(out, ']')
}
