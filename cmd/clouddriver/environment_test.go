package main

import (
	"os"
	"strings"
	"testing"
)

func TestForget_LeavesWhatProgramsNeed(t *testing.T) {
	before := os.Environ()
	t.Cleanup(func() {
		os.Clearenv()
		for _, pair := range before {
			name, value, _ := strings.Cut(pair, "=")
			_ = os.Setenv(name, value)
		}
	})
	for _, name := range []string{"DB_PASS", "ARCADE_API_KEY", "CLOUDDRIVER_TOKEN_KEYS", "SOMETHING_ELSE", "AWS_ROLE_ARN", "PATH", "HTTPS_PROXY"} {
		if err := os.Setenv(name, "canary"); err != nil {
			t.Fatal(err)
		}
	}
	environ := environment()
	forget([]string{"AWS_ROLE_ARN"})
	for name, stays := range map[string]bool{"DB_PASS": false, "ARCADE_API_KEY": false, "CLOUDDRIVER_TOKEN_KEYS": false, "SOMETHING_ELSE": false, "AWS_ROLE_ARN": true, "PATH": true, "HTTPS_PROXY": true} {
		if _, ok := os.LookupEnv(name); ok != stays {
			t.Errorf("%s: %t", name, ok)
		}
		if environ(name) != "canary" {
			t.Errorf("%s is lost for the settings", name)
		}
	}
}
