package index

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// walker reads JSON from its beginning to its end, once. Most of what a cluster
// sends is of no use here, and is passed over without a look at what it means: a
// decoder that checks everything, and then reads it, takes half of the time of a
// start (BenchmarkDecode). What is passed over may be broken: it has to be checked by
// whoever cuts a stream into objects, as far as they doubt it.
type walker struct {
	b  []byte
	at int
	// odd is the first value that was not of the kind that was asked for. It is
	// passed over.
	odd error
}

var errJSON = errors.New("it is no JSON")

// next is the first byte of the value that comes, 0 at the end.
func (w *walker) next() byte {
	for w.at < len(w.b) {
		switch c := w.b[w.at]; c {
		case ' ', '\t', '\r', '\n':
			w.at++
		default:
			return c
		}
	}
	return 0
}

// take passes over one byte, if it is what comes.
func (w *walker) take(c byte) bool {
	if w.next() != c {
		return false
	}
	w.at++
	return true
}

// other passes over a value of another kind than the one that was asked for. null is
// as good as none.
func (w *walker) other(what, want string) error {
	if w.odd == nil && w.next() != 'n' {
		w.odd = fmt.Errorf("%s is no %s", what, want)
	}
	return w.skip()
}

// object calls field for each of an object's fields; it has to read the value.
func (w *walker) object(what string, field func(key []byte) error) error {
	if w.next() != '{' {
		return w.other(what, "object")
	}
	w.at++
	if w.take('}') {
		return nil
	}
	for {
		key, err := w.raw()
		if err != nil {
			return err
		}
		if key, err = unquoted(key); err != nil {
			return err
		}
		if !w.take(':') {
			return errJSON
		}
		if err := field(key); err != nil {
			return err
		}
		if w.take('}') {
			return nil
		}
		if !w.take(',') || w.next() != '"' {
			return errJSON
		}
	}
}

// array calls item for each of an array's items; it has to read the value.
func (w *walker) array(what string, item func() error) error {
	if w.next() != '[' {
		return w.other(what, "array")
	}
	w.at++
	if w.take(']') {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if w.take(']') {
			return nil
		}
		if !w.take(',') {
			return errJSON
		}
	}
}

// text reads a string.
func (w *walker) text(what string, into *string) error {
	var text []byte
	err := w.bytes(what, &text)
	if text != nil {
		*into = string(text)
	}
	return err
}

// bytes reads a string without copying it, where it is written as it is.
func (w *walker) bytes(what string, into *[]byte) error {
	if w.next() != '"' {
		return w.other(what, "text")
	}
	raw, err := w.raw()
	if err != nil {
		return err
	}
	*into, err = unquoted(raw)
	return err
}

// texts reads an object of strings; wanted, which may be nil, says of which.
func (w *walker) texts(what string, wanted func(key []byte) bool, found func(key, value []byte)) error {
	return w.object(what, func(key []byte) error {
		if wanted != nil && !wanted(key) {
			if w.next() != '"' {
				return w.other(what, "object of texts")
			}
			return w.skip()
		}
		if w.next() != '"' {
			if w.next() == 'n' { // a null is an empty text
				found(key, nil)
			}
			return w.other(what, "object of texts")
		}
		var value []byte
		if err := w.bytes(what, &value); err != nil {
			return err
		}
		found(key, value)
		return nil
	})
}

// number reads a number's whole part, 0 for anything else.
func (w *walker) number(into *int64) error {
	w.next()
	from := w.at
	if err := w.skip(); err != nil {
		return err
	}
	f, err := strconv.ParseFloat(string(w.b[from:w.at]), 64)
	*into = 0
	if err == nil {
		*into = int64(f)
	}
	return nil
}

// truth reads a boolean.
func (w *walker) truth(what string, into *bool) error {
	switch w.next() {
	case 't':
		*into = true
		return w.skip()
	case 'f':
		*into = false
		return w.skip()
	}
	return w.other(what, "boolean")
}

// raw passes over a string, and returns it with its quotes.
func (w *walker) raw() ([]byte, error) {
	if w.next() != '"' {
		return nil, errJSON
	}
	from := w.at
	for at := from + 1; ; {
		quote := bytes.IndexByte(w.b[at:], '"')
		if quote < 0 {
			return nil, errJSON
		}
		at += quote + 1
		escapes := 0
		for w.b[at-2-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			w.at = at
			return w.b[from:at], nil
		}
	}
}

// unquoted is what a string says.
func unquoted(raw []byte) ([]byte, error) {
	inner := raw[1 : len(raw)-1]
	plain := true
	for _, c := range inner {
		if c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	if plain {
		return inner, nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, errJSON
	}
	return []byte(text), nil
}

// skip passes over a value.
func (w *walker) skip() error {
	switch w.next() {
	case 0:
		return errJSON
	case '"':
		_, err := w.raw()
		return err
	case '{', '[':
		return w.skipNested()
	}
	from := w.at
	for w.at < len(w.b) && !ends[w.b[w.at]] {
		w.at++
	}
	if from == w.at {
		return errJSON
	}
	return nil
}

// ends are the bytes that stand behind a number or a word.
var ends = [256]bool{',': true, '}': true, ']': true, ' ': true, '\t': true, '\r': true, '\n': true, ':': true, '"': true, '{': true, '[': true}

// skipNested passes over an object or an array.
func (w *walker) skipNested() error {
	depth := 0
	for w.at < len(w.b) {
		switch w.b[w.at] {
		case '"':
			if _, err := w.raw(); err != nil {
				return err
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				w.at++
				return nil
			}
		}
		w.at++
	}
	return errJSON
}
