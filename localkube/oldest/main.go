// Command oldest is the kube-apiserver of the oldest Kubernetes version that
// Clouddriver supports. It is called like its newer sibling in
// ../controlplane: the first argument names the component.
package main

import (
	"fmt"
	"io"
	"os"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != "kube-apiserver" {
		fmt.Fprintln(os.Stderr, "usage: oldest kube-apiserver [flags]")
		os.Exit(2)
	}
	if os.Getenv("LOCALKUBE_CHILD") != "" {
		go endWithParent()
	}
	os.Args = os.Args[1:]
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}

// endWithParent leaves when standard input closes, which happens when the
// parent ends, however it ends.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}
