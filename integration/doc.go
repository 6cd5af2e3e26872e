// Package integration tests the whole service against real Kubernetes control
// planes. Begin with TestReadLists_ClosingTable: it applies objects to two
// control planes and reads every list route.
package integration
