// Command kubectl is kubectl itself, built from its module for tests that
// compare with it: as a program of its own it is as fast as it is for others.
package main

import (
	"os"

	"k8s.io/kubectl/pkg/cmd"
)

func main() {
	if err := cmd.NewDefaultKubectlCommand().Execute(); err != nil {
		os.Exit(1)
	}
}
