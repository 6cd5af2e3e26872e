package operation

import (
	"reflect"
	"strings"
)

// at follows a JSON pointer through objects.
func at(v any, pointer string) (any, bool) {
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[unescape.Replace(part)]; !ok {
			return nil, false
		}
	}
	return v, true
}

// sameJSON compares; an empty object holds whatever is in its place, since it
// is only made when there is none.
func sameJSON(live, wanted any) bool {
	if m, ok := wanted.(map[string]any); ok && len(m) == 0 {
		_, ok := live.(map[string]any)
		return ok
	}
	return reflect.DeepEqual(live, wanted)
}
