package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestReferencePages_AreCurrent(t *testing.T) {
	for _, page := range []string{"settings", "metrics"} {
		var want bytes.Buffer
		if err := run(context.Background(), []string{page}, streams{&want, &want}); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile("../../docs/" + page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		if want.String() != string(got) {
			t.Errorf("docs/%[1]s.md is out of date; write it with: bin/clouddriver %[1]s > docs/%[1]s.md", page)
		}
	}
}

func TestHelp_IsThereForEveryCommand(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no help", c.CommandPath())
		}
		for _, inner := range c.Commands() {
			walk(inner)
		}
	}
	walk(newRoot(streams{io.Discard, io.Discard}))
	for _, args := range [][]string{{"--help"}, {"account"}, {"account", "check", "--help"}, {"compare", "--help"}, {"completion", "bash"}, {"version"}} {
		var out bytes.Buffer
		if err := run(context.Background(), args, streams{&out, &out}); err != nil || out.Len() == 0 {
			t.Errorf("%v: %v, %d bytes", args, err, out.Len())
		}
	}
}

func TestRun_RefusesWhatItCannotDo(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"unknown command":    {[]string{"fly"}, "unknown command"},
		"Fiat":               {[]string{"serve", "--services.fiat.baseUrl=spin-fiat"}, "services.fiat.baseUrl"},
		"missing kubeconfig": {[]string{"--kubernetes.kubeconfig=/does/not/exist"}, "no account can be used"},
		"no side to compare": {[]string{"compare"}, "--with"},
		"bad output":         {[]string{"compare", "--with", "http://x", "-o", "xml"}, "--output"},
		"no address":         {[]string{"compare", "--with", "here"}, "exit code 2"},
		"unknown account":    {[]string{"account", "check", "mars", "--database.path=/does/not/exist"}, "no account"},
		"port in use or bad": {[]string{"--server.port=-1"}, "server.port"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(context.Background(), c.args, streams{io.Discard, io.Discard}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
