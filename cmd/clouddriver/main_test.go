package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

func TestSettingsPage_IsCurrent(t *testing.T) {
	var want bytes.Buffer
	if err := printSettings(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	if want.String() != string(got) {
		t.Error("docs/settings.md is out of date; write it with: bin/clouddriver settings > docs/settings.md")
	}
}

func TestRun_RefusesWhatItCannotDo(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"unknown command":    {[]string{"fly"}, "unknown command"},
		"Fiat":               {[]string{"serve", "--services.fiat.enabled=true"}, "services.fiat.enabled"},
		"missing kubeconfig": {[]string{"--kubernetes.kubeconfig=/does/not/exist"}, "no account can be used"},
		"port in use or bad": {[]string{"--server.port=-1"}, "server.port"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(context.Background(), c.args); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
