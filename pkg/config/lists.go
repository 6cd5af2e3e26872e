package config

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// Spring lets a list of objects be written key by key, as accounts[0].name in a file,
// and as ACCOUNTS_0_NAME in the environment (artifacts.md 8.3).

// mostListed bounds such a list.
const mostListed = 10_000

var indexed = regexp.MustCompile(`^(.+?)\[(\d+)\]\.(.+)$`)

// gathered puts keys like a.b[0].c of the lists into them. What is written so takes
// the place of a list.
func gathered(values map[string]any, lists map[string]string) {
	found := map[string][]any{}
	for key, value := range values {
		parts := indexed.FindStringSubmatch(key)
		if parts == nil || lists[parts[1]] == "" {
			continue
		}
		i, err := strconv.Atoi(parts[2])
		if err != nil || i >= mostListed || value == nil {
			continue
		}
		for len(found[parts[1]]) <= i {
			found[parts[1]] = append(found[parts[1]], map[string]any{})
		}
		entry, _ := found[parts[1]][i].(map[string]any)
		place(entry, parts[3], value)
		delete(values, key)
	}
	for key, list := range found {
		values[key] = list
	}
}

var lastIndex = regexp.MustCompile(`^(.+)\[(\d+)\]$`)

// place sets a value at a path like a.b or a[0].
func place(in map[string]any, path string, value any) {
	name, rest, nested := strings.Cut(path, ".")
	if nested {
		inner, _ := in[name].(map[string]any)
		if inner == nil {
			inner = map[string]any{}
			in[name] = inner
		}
		place(inner, rest, value)
		return
	}
	parts := lastIndex.FindStringSubmatch(name)
	if parts == nil {
		in[name] = value
		return
	}
	i, err := strconv.Atoi(parts[2])
	if err != nil || i >= mostListed {
		return
	}
	list, _ := in[parts[1]].([]any)
	for len(list) <= i {
		list = append(list, "")
	}
	list[i] = value
	in[parts[1]] = list
}

// listOf is a list of objects that the environment has, nil for none.
func listOf(key string, element reflect.Type, environ func(string) string) []any {
	prefix := strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
	var out []any
	for i := range mostListed {
		entry := objectOf(prefix+"_"+strconv.Itoa(i), element, environ)
		if len(entry) == 0 {
			break
		}
		out = append(out, entry)
	}
	return out
}

// objectOf are the members of an object that the environment has.
func objectOf(prefix string, t reflect.Type, environ func(string) string) map[string]any {
	out := map[string]any{}
	for f := range t.Fields() {
		name := f.Tag.Get("koanf")
		if value := valueOf(prefix+"_"+strings.ToUpper(name), f.Type, environ); value != nil {
			out[name] = value
		}
	}
	return out
}

func valueOf(variable string, t reflect.Type, environ func(string) string) any {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Struct:
		if inner := objectOf(variable, t, environ); len(inner) > 0 {
			return inner
		}
	case t == reflect.TypeFor[[]string]():
		return textsOfEnvironment(variable, environ)
	case t == reflect.TypeFor[map[string][]string](): // permissions
		inner := map[string]any{}
		for _, authorization := range []string{"READ", "WRITE", "EXECUTE"} {
			if texts := textsOfEnvironment(variable+"_"+authorization, environ); texts != nil {
				inner[authorization] = texts
			}
		}
		if len(inner) > 0 {
			return inner
		}
	case t.Kind() == reflect.Slice, t.Kind() == reflect.Map:
		// lists within lists are for files
	default:
		if text := environ(variable); text != "" {
			return text
		}
	}
	return nil
}

// textsOfEnvironment are those of one variable, joined by commas, or of one for each.
func textsOfEnvironment(variable string, environ func(string) string) any {
	all := splitList(environ(variable))
	for i := len(all); i < mostListed; i++ {
		text := environ(variable + "_" + strconv.Itoa(i))
		if text == "" {
			break
		}
		all = append(all, text)
	}
	if len(all) == 0 {
		return nil
	}
	out := make([]any, 0, len(all))
	for _, text := range all {
		out = append(out, text)
	}
	return out
}
