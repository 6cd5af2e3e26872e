package jackson

import (
	"encoding/json"
	"strings"
	"testing"
)

type inner struct {
	Name    string `json:"name"`
	Desired int    `json:"desired"`
}

type embedded struct {
	Account string `json:"account"`
}

type outer struct {
	embedded
	Flag   bool            `json:"flag"`
	Maybe  *bool           `json:"maybe"`
	Count  *int            `json:"count"`
	Texts  []string        `json:"texts"`
	Inner  *inner          `json:"inner"`
	List   []*inner        `json:"list"`
	Raw    json.RawMessage `json:"raw"`
	Free   map[string]any  `json:"free"`
	Hidden string
}

func TestUnmarshal_TakesScalarsForOneAnother(t *testing.T) {
	for in, want := range map[string]string{
		`{"account": 12345}`:  `"account":"12345"`,
		`{"account": 1.70E9}`: `"account":"1700000000"`,
		`{"account": 1.10}`:   `"account":"1.10"`,
		`{"account": true}`:   `"account":"true"`,
		`{"account": null}`:   `"account":""`,
		`{"ACCOUNT": "x"}`:    `"account":""`,
		`{"flag": "True"}`:    `"flag":true`,
		`{"flag": "false"}`:   `"flag":false`,
		`{"flag": 1}`:         `"flag":true`,
		`{"flag": ""}`:        `"flag":false`,
		`{"maybe": "false"}`:  `"maybe":false`,
		`{"maybe": ""}`:       `"maybe":null`,
		`{"count": " "}`:      `"count":null`,
		`{"maybe": null}`:     `"maybe":null`,
		`{"count": "3"}`:      `"count":3`,
		`{"count": 3.0}`:      `"count":3`,
		`{"count": "3.0"}`:    `"count":3`,
		`{"texts": ["a", 2, true, null, 9007199254740993]}`: `"texts":["a","2","true","9007199254740993"]`,
		`{"inner": {"name": 7, "desired": "4"}}`:            `"inner":{"name":"7","desired":4}`,
		`{"list": [null, {"name": "x"}]}`:                   `"list":[null,{"name":"x","desired":0}]`,
		`{"raw": {"a": 1.0e3}}`:                             `"raw":{"a":1.0e3}`,
		`{"free": {"a": [1]}}`:                              `"free":{"a":[1]}`,
		`{"unknown": {"x": []}, "Hidden": "x"}`:             `"Hidden":""`,
	} {
		var o outer
		if err := Unmarshal([]byte(in), &o); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		out, err := json.Marshal(o)
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: got %s, %v; want %s", in, out, err, want)
		}
	}
}

func TestUnmarshal_NamesTheMemberThatItRefuses(t *testing.T) {
	for in, want := range map[string]string{
		`{"account": {}}`:              "account: a JSON object cannot be used here",
		`{"flag": "perhaps"}`:          `flag: "perhaps" is neither true nor false`,
		`{"flag": []}`:                 "flag: a JSON array cannot be used here",
		`{"count": 3.5}`:               "count: 3.5 is not a whole number",
		`{"count": "many"}`:            `count: "many" is not a whole number`,
		`{"count": 1e99}`:              "count: 1e99 is not a whole number",
		`{"count": 1e999999999}`:       "count: 1e999999999 is not a whole number",
		`{"texts": "one"}`:             "texts: a JSON string cannot be used here",
		`{"texts": ["a", {}]}`:         "texts[1]: a JSON object cannot be used here",
		`{"inner": "x"}`:               "inner: a JSON string cannot be used here",
		`{"list": [{"desired": "x"}]}`: `list[0].desired: "x" is not a whole number`,
		`{"free": 3}`:                  "free: a JSON number cannot be used here",
		`[]`:                           "a JSON array cannot be used here",
		`{"a"`:                         "unexpected end of JSON input",
	} {
		var o outer
		if err := Unmarshal([]byte(in), &o); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", in, err, want)
		}
	}
}
