package secret

import (
	"strings"
	"testing"
	"time"
)

func TestPrinted_IsBoundedInTimeAndSize(t *testing.T) {
	if text, err := Printed(t.Context(), time.Minute, "sh", "-c", "echo ' hush '"); text != "hush" || err != nil {
		t.Errorf("%q %v", text, err)
	}
	for script, want := range map[string]string{"true": "it printed nothing", "exit 3": "exit status 3", "yes": "it printed more than", "sleep 60 & sleep 60": "it took longer than 200ms"} {
		within := time.Minute
		if strings.Contains(want, "200ms") {
			within = 200 * time.Millisecond
		}
		if text, err := Printed(t.Context(), within, "sh", "-c", script); text != "" || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q %v", script, text, err)
		}
	}
	if _, err := Printed(t.Context(), time.Minute, "/not/there"); err == nil {
		t.Error("a program that is not there has printed something")
	}
}
