package view

import (
	"io"
	"strings"
	"testing"
)

// TestProperties_AreBounded: a log may be anybody's.
func TestProperties_AreBounded(t *testing.T) {
	long := strings.Repeat("x", longestLine+100)
	for name, c := range map[string]struct {
		log  io.Reader
		want string // "" for a refusal
	}{
		"a long line of something else": {strings.NewReader(long + "\nSPINNAKER_PROPERTY_A=1\n"), "1"},
		"no end of line":                {strings.NewReader("SPINNAKER_PROPERTY_A=2"), "2"},
		"a long property":               {strings.NewReader("SPINNAKER_PROPERTY_A=" + long + "\n"), ""},
		"a long object":                 {strings.NewReader("  SPINNAKER_CONFIG_JSON={\"a\":\"" + long + "\"}\n"), ""},
		"many properties":               {strings.NewReader(strings.Repeat("SPINNAKER_PROPERTY_A=3\n", mostKept/20)), ""},
		"a marker behind the bound":     {strings.NewReader(long + "SPINNAKER_PROPERTY_A=4\n"), "none"},
	} {
		got, err := Properties(c.log)
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%s: taken", name)
		case c.want == "none" && (err != nil || len(got) > 0):
			t.Errorf("%s: %v, %v", name, len(got), err)
		case c.want != "" && c.want != "none" && (err != nil || got["a"] != c.want):
			t.Errorf("%s: %v", name, err)
		}
	}
}
