package compare

import (
	"encoding/json"
	"strings"
	"testing"
)

func decode(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDiff_TellsWhatDiffersInMeaning(t *testing.T) {
	for name, c := range map[string]struct{ here, there, want string }{
		"equal":                       {`{"a":1}`, `{"a":1}`, ""},
		"order of keys and rows":      {`[{"name":"a","x":1},{"name":"b"}]`, `[{"name":"b"},{"x":1,"name":"a"}]`, ""},
		"order of texts":              {`["a","b"]`, `["b","a"]`, ""},
		"order of arguments":          {`{"args":["a","b"]}`, `{"args":["b","a"]}`, `.args[0] value, .args[1] value`},
		"absent against null":         {`{"a":1,"b":null}`, `{"a":1}`, ""},
		"absent against empty":        {`{"b":[]}`, `{}`, `.b only here`},
		"times of one second":         {`{"createdTime":1700000000000,"at":"2026-01-01T00:00:00Z"}`, `{"createdTime":1700000000400,"at":"2026-01-01T01:00:00.2+01:00"}`, ""},
		"times of two seconds":        {`{"createdTime":1700000000000}`, `{"createdTime":1700000001000}`, `.createdTime value`},
		"counts are not times":        {`{"attempts":3,"restartTime":5}`, `{"attempts":5,"restartTime":9}`, `.attempts value, .restartTime value`},
		"numbers are not times":       {`{"size":1000}`, `{"size":1400}`, `.size value`},
		"whole and decimal":           {`{"a":1}`, `{"a":1.0}`, ""},
		"big numbers":                 {`{"a":9007199254740993}`, `{"a":9007199254740992}`, `.a value`},
		"number against text":         {`{"a":1}`, `{"a":"1"}`, `.a value`},
		"object against list":         {`{"a":{}}`, `{"a":[]}`, `.a value`},
		"text against object":         {`{"a":"x"}`, `{"a":{"b":1}}`, `.a value`},
		"a row more and one less":     {`[{"name":"a"},{"name":"b"}]`, `[{"name":"b"},{"name":"c"}]`, `[a] only here, [c] only there`},
		"a row of one name elsewhere": {`[{"account":"x","region":"d","name":"a","v":1},{"account":"y","region":"d","name":"a","v":2}]`, `[{"account":"y","region":"d","name":"a","v":3},{"account":"x","region":"d","name":"a","v":1}]`, `[y d a].v value`},
		"rows without identity":       {`[{"q":1},{"q":2}]`, `[{"q":2},{"q":3}]`, `[0].q value`},
		"the same row twice":          {`["a","a"]`, `["a"]`, `["a"] only here`},
		"rows of one meaning":         {`[{"q":[1,2],"n":null}]`, `[{"q":[2,1.0]}]`, ""},
		"one row more, unidentified":  {`[{"q":1},{"q":2}]`, `[{"q":2}]`, `[{"q":1}] only here`},
		"false against null":          {`{"a":false}`, `{"a":null}`, `.a only here`},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, d := range Diff(decode(t, c.here), decode(t, c.there)) {
				got = append(got, d.Where+" "+string(d.Kind))
			}
			if text := strings.Join(got, ", "); text != c.want {
				t.Errorf("got %q, want %q", text, c.want)
			}
		})
	}
}

func FuzzDiff(f *testing.F) {
	f.Add(`[{"name":"a"}]`)
	f.Add(`{"args":[1,null,{"x":[[]]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var v any
		if d.Decode(&v) != nil {
			return
		}
		if found := Diff(v, v); len(found) > 0 {
			t.Errorf("%q differs from itself: %+v", text, found)
		}
	})
}
