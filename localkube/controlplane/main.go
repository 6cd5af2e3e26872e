// Command controlplane is etcd, kube-apiserver, kube-controller-manager,
// kube-scheduler and kwok in one multi-call binary: the first argument names
// the component, the rest are that component's own flags.
//
// One binary links several times faster than five, because the components
// share nearly all of their code.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	if os.Getenv("LOCALKUBE_CHILD") != "" {
		go endWithParent()
	}
	name := os.Args[1]
	os.Args = append([]string{name}, os.Args[2:]...)
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		run(controllermanager.NewControllerManagerCommand())
	case "kube-scheduler":
		run(scheduler.NewSchedulerCommand())
	case "kwok":
		os.Exit(runKwok())
	case "kwok-stages":
		printStages()
	default:
		usage()
	}
}

// endWithParent leaves when standard input closes, which happens when the
// parent ends, however it ends.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func run(cmd *cobra.Command) { os.Exit(cli.Run(cmd)) }

func usage() {
	fmt.Fprintln(os.Stderr, "usage: controlplane etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kwok|kwok-stages [flags]")
	os.Exit(2)
}
