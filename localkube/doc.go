// Package localkube runs real Kubernetes control planes on a machine that has
// no cluster: etcd, kube-apiserver, kube-controller-manager, kube-scheduler
// and kwok, which plays the nodes so that pods reach Running.
//
// Programs in KUBEBUILDER_ASSETS or on PATH are used when all five are there, and
// kwok's stages in $KUBEBUILDER_ASSETS/kwok-stages.yaml.
// Else the official ones are downloaded, verified by the sums of downloads.txt,
// or they are built once from their Go modules, at the versions that
// controlplane/go.mod and oldest/go.mod pin, and kept in the user's cache
// folder.
//
// Start gives a control plane to a test or to a program; Shared gives a test
// the control planes that other packages use too. The command in
// cmd/localkube does the same for a shell.
package localkube
