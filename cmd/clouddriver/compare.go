package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/datapunchorg/go-clouddriver/pkg/compare"
)

func compareCommand(std streams) *cobra.Command {
	o := compare.Options{}
	var format string
	var watch bool
	var every time.Duration
	c := &cobra.Command{
		Use:   "compare --with http://other-clouddriver:7002",
		Short: "Tell what another Clouddriver shows differently",
		Long: `Walk every account and application that two Clouddrivers both have, read every
view that Deck and Orca read from both, and tell what differs in meaning: neither
the order of rows, nor a key that is absent against one that is null, nor the
spelling of a time. What differs is asked for again after --settle, since clusters
change meanwhile. Nothing is written anywhere.

The exit code is 0 when nothing differs, 1 when something does, and 2 when nothing
does but some routes could not be compared.`,
		Example: `  clouddriver compare --with http://spin-clouddriver-java:7002
  clouddriver compare --here http://new:7002 --with http://old:7002 --application web --output json
  clouddriver compare --with http://spin-clouddriver-java:7002 --settle 30s --watch`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.There == "" {
				return errors.New("--with: say the address of the other Clouddriver, like http://spin-clouddriver:7002")
			}
			if err := checkFormat(format); err != nil {
				return err
			}
			if every <= 0 {
				return errors.New("--every: must be more than 0")
			}
			if watch {
				return compareOn(c.Context(), o, format, every, std)
			}
			return compareOnce(c.Context(), o, format, std)
		},
	}
	f := c.Flags()
	f.StringVar(&o.There, "with", "", "address of the other Clouddriver")
	f.StringVar(&o.Here, "here", "http://localhost:7002", "address of this one")
	f.StringVar(&o.User, "user", "", "whom to ask as (X-SPINNAKER-USER), where Fiat is on")
	f.StringSliceVar(&o.Accounts, "account", nil, "only these accounts")
	f.StringSliceVar(&o.Applications, "application", nil, "only these applications")
	f.DurationVar(&o.Timeout, "timeout", 30*time.Second, "deadline of one answer")
	f.DurationVar(&o.Settle, "settle", 2*time.Second, "how long to wait before what differs is asked for again; 30s suit a Clouddriver that polls")
	f.IntVar(&o.Concurrency, "concurrency", 8, "routes that are asked for at once")
	f.IntVar(&o.Details, "details", 0, "routes below an application's lists at most; 0 for all")
	f.StringVarP(&format, "output", "o", "table", "table or json")
	f.BoolVar(&watch, "watch", false, "go on comparing, and tell what comes and goes")
	f.DurationVar(&every, "every", time.Minute, "how long to wait between two comparisons of --watch")
	return c
}

// checkFormat refuses a form of output that there is not.
func checkFormat(format string) error {
	if format != "table" && format != "json" {
		return fmt.Errorf("--output: %q is neither table nor json", format)
	}
	return nil
}

func compareOnce(ctx context.Context, o compare.Options, format string, std streams) error {
	bar := newProgress(std.err, "routes")
	o.Progress = bar.at
	report, err := compare.Run(ctx, o)
	bar.end()
	if err != nil {
		_, _ = fmt.Fprintln(std.err, "clouddriver:", err)
		return unsure // and not that something differs
	}
	if err := printReport(report, format, std.out); err != nil {
		return err
	}
	return verdictOf(report)
}

func verdictOf(r *compare.Report) error {
	switch {
	case !r.Equal():
		return found
	case !r.Complete(), len(r.Accounts) == 0:
		return unsure
	}
	return nil
}

func printReport(r *compare.Report, format string, out io.Writer) error {
	if format == "table" {
		return r.Table(out)
	}
	return printJSON(out, r)
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// compareOn compares again and again until the context is over. What has been
// told is told again only after it was gone. The exit code is the last report's.
func compareOn(ctx context.Context, o compare.Options, format string, every time.Duration, std streams) error {
	var before []compare.Difference
	var last error
	for {
		report, err := compare.Run(ctx, o)
		switch {
		case ctx.Err() != nil:
			return last
		case err != nil: // one of the two is away: it may come back
			_, _ = fmt.Fprintln(std.err, time.Now().UTC().Format(time.RFC3339), err)
			last = unsure
		default:
			if err := printChange(report, before, format, std.out); err != nil {
				return err
			}
			before, last = report.Standing(before), verdictOf(report)
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(every):
		}
	}
}

// printChange tells what has come and gone since the report before.
func printChange(r *compare.Report, before []compare.Difference, format string, out io.Writer) error {
	if format == "json" {
		return printReport(r, format, out)
	}
	come, gone := compare.Changes(before, r.Standing(before))
	at := r.At.Format(time.RFC3339)
	if _, err := fmt.Fprintf(out, "%s  %d routes, %d differences, %d new, %d gone, %d not compared\n", at, r.Routes, len(r.Differences)+r.More, len(come), len(gone), len(r.Failures)); err != nil {
		return err
	}
	for _, d := range come {
		if _, err := fmt.Fprintf(out, "  new   %s %s: %s\n", d.Route, d.Where, d.Kind); err != nil {
			return err
		}
	}
	for _, d := range gone {
		if _, err := fmt.Fprintf(out, "  gone  %s %s\n", d.Route, d.Where); err != nil {
			return err
		}
	}
	return nil
}
