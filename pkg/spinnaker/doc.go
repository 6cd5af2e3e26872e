// Package spinnaker is the vocabulary that Clouddriver shares with Gate, Orca
// and Deck: kinds, full names, monikers and the annotations that carry them.
// It does no I/O and imports nothing of ours.
package spinnaker
