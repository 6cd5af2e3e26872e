package view

import (
	"bytes"
	"encoding/json"
)

// encode writes JSON as Spinnaker's services do: without escaping <, > and &.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // the models hold only what encodes
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Encode renders any of the package's models.
func Encode(model any) []byte { return encode(model) }

// Join makes a JSON array of rendered elements, without those that are left out.
func Join(elements []Element) []byte {
	size := 2
	for _, e := range elements {
		size += len(e.JSON) + 1
	}
	out := make([]byte, 0, size)
	out = append(out, '[')
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
