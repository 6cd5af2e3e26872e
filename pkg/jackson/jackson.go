// Package jackson decodes JSON into structs as leniently as the Jackson of Java
// services does with its defaults: callers that have only ever met those send
// "3" for a number, "false" for a boolean and 12345 for a name
// (FasterXML/jackson-databind, MapperFeature.ALLOW_COERCION_OF_SCALARS). What
// would change a value is refused: 3.5 is no whole number.
package jackson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"strconv"
	"strings"
)

// Error says which member cannot be decoded, and why.
type Error struct {
	// Path leads to the member: capacity.desired, manifests[2].
	Path string
	// Reason is what is wrong with it.
	Reason string
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

// Unmarshal decodes into a pointer to a struct. Members are matched by their
// exact names, unknown ones are ignored, null leaves a member as it is, and a
// null in a list of texts is dropped.
func Unmarshal(raw []byte, into any) error {
	return decodeStruct(bytes.TrimSpace(raw), reflect.ValueOf(into).Elem(), "")
}

func decode(raw json.RawMessage, v reflect.Value, path string) error {
	if u, ok := v.Addr().Interface().(json.Unmarshaler); ok {
		if err := u.UnmarshalJSON(raw); err != nil {
			return &Error{path, err.Error()}
		}
		return nil
	}
	if string(raw) == "null" {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if text, ok := Text(raw); ok && strings.TrimSpace(text) == "" && v.Type().Elem().Kind() != reflect.String {
			return nil // an empty text is null for what may be null
		}
		fresh := reflect.New(v.Type().Elem())
		if err := decode(raw, fresh.Elem(), path); err != nil {
			return err
		}
		v.Set(fresh)
		return nil
	case reflect.Struct:
		return decodeStruct(raw, v, path)
	case reflect.Slice:
		return decodeSlice(raw, v, path)
	case reflect.String:
		return decodeText(raw, v, path)
	case reflect.Bool:
		return decodeBool(raw, v, path)
	case reflect.Int, reflect.Int64, reflect.Int32:
		return decodeInt(raw, v, path)
	}
	if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
		return misplaced(raw, path)
	}
	return nil
}

func decodeStruct(raw json.RawMessage, v reflect.Value, path string) error {
	var members map[string]json.RawMessage
	err := json.Unmarshal(raw, &members)
	var broken *json.SyntaxError
	switch {
	case errors.As(err, &broken):
		return &Error{path, err.Error()}
	case err != nil:
		return misplaced(raw, path)
	}
	return fill(members, v, path)
}

// fill sets the fields of a struct, and those of the structs embedded in it.
func fill(members map[string]json.RawMessage, v reflect.Value, path string) error {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous {
			if err := fill(members, v.Field(i), path); err != nil {
				return err
			}
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		member, there := members[name]
		if !there || name == "" || name == "-" {
			continue
		}
		if err := decode(member, v.Field(i), under(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// Known is a JSON object without the members that Unmarshal would ignore.
func Known(raw []byte, of any) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, err
	}
	known := map[string]bool{}
	names(reflect.TypeOf(of).Elem(), known)
	maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool { return !known[name] })
	return json.Marshal(members)
}

func names(of reflect.Type, into map[string]bool) {
	for i := range of.NumField() {
		field := of.Field(i)
		if field.Anonymous {
			names(field.Type, into)
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		into[name] = true
	}
}

func under(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func decodeSlice(raw json.RawMessage, v reflect.Value, path string) error {
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) != nil {
		return misplaced(raw, path)
	}
	texts := v.Type().Elem().Kind() == reflect.String
	out := reflect.MakeSlice(v.Type(), 0, len(elements))
	for i, element := range elements {
		if texts && string(element) == "null" {
			continue
		}
		one := reflect.New(v.Type().Elem()).Elem()
		if err := decode(element, one, fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
		out = reflect.Append(out, one)
	}
	v.Set(out)
	return nil
}

func decodeText(raw json.RawMessage, v reflect.Value, path string) error {
	text, ok := Text(raw)
	if !ok {
		return misplaced(raw, path)
	}
	v.SetString(text)
	return nil
}

// Text is a scalar as text, with the digits that a number was written with; ok
// is false for objects, arrays and null.
func Text(raw json.RawMessage) (text string, ok bool) {
	switch kind(raw) {
	case "string":
		return text, json.Unmarshal(raw, &text) == nil
	case "number":
		return digits(string(raw)), true
	case "boolean":
		return string(raw), true
	}
	return "", false
}

// digits writes a number out: 1.7e9 is 1700000000.
func digits(number string) string {
	if !strings.ContainsAny(number, "eE") {
		return number
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return number
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func decodeBool(raw json.RawMessage, v reflect.Value, path string) error {
	text, ok := Text(raw)
	if !ok {
		return misplaced(raw, path)
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "1":
		v.SetBool(true)
	case "false", "0", "":
		v.SetBool(false)
	default:
		return &Error{path, fmt.Sprintf("%s is neither true nor false", raw)}
	}
	return nil
}

func decodeInt(raw json.RawMessage, v reflect.Value, path string) error {
	text, ok := Text(raw)
	if !ok {
		return misplaced(raw, path)
	}
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	n, ok := Whole(text)
	if !ok || v.OverflowInt(n) {
		return &Error{path, fmt.Sprintf("%s is not a whole number", raw)}
	}
	v.SetInt(n)
	return nil
}

// Whole reads a whole number, also one that is written as 3.0 or 3e2. A text
// with an exponent of more digits than a number can have is none.
func Whole(text string) (n int64, ok bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	const longest = 40
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || len(text) > longest || f >= 1<<63 || f < -1<<63 {
		return 0, false
	}
	exact, ok := new(big.Rat).SetString(text)
	if !ok || !exact.IsInt() {
		return 0, false
	}
	return exact.Num().Int64(), exact.Num().IsInt64()
}

func misplaced(raw json.RawMessage, path string) error {
	return &Error{path, "a JSON " + kind(raw) + " cannot be used here"}
}

func kind(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}
