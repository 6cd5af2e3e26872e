// Command clouddriver is Spinnaker's Clouddriver for Kubernetes: it watches
// every account's cluster and answers the API from memory.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	err := run(untilSignal(), os.Args[1:], streams{out: os.Stdout, err: os.Stderr})
	var code exitCode
	switch {
	case err == nil:
		return
	case errors.As(err, &code): // what there is to say has been said
		os.Exit(int(code))
	}
	fmt.Fprintln(os.Stderr, "clouddriver:", err)
	os.Exit(1)
}

// untilSignal is over with a signal to end. By then nobody waits for another one, which
// ends the program at once.
func untilSignal() context.Context {
	ctx, end := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals)
		end()
	}()
	return ctx
}

// run is main with its inputs as parameters.
func run(ctx context.Context, args []string, std streams) error {
	root := newRoot(std) //nolint:contextcheck // commands have the context of ExecuteContext
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// exitCode ends the program with a code after a command has reported.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// What commands that check or compare end with, beside 0.
const (
	// found says that something is wrong or different.
	found exitCode = 1
	// unsure says that something could not be looked at.
	unsure exitCode = 2
)
