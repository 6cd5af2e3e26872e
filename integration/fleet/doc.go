// Package fleet is a fleet of Kubernetes clusters in one process, for measuring: as
// many API servers as are wanted behind one listener, with as much of the protocol
// as is used of clusters by those who watch them. Objects are made from the numbers
// of their cluster and their own when they are asked for, so that a million of them
// take no room; only what has changed is remembered.
//
// Each cluster can be made slow, silent or unreachable, forget its history, and lose
// its connections. What it answers is compared with a real control plane by
// TestFleet_AnswersAsAControlPlaneDoes of package integration.
package fleet
