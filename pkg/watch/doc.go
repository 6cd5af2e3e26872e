// Package watch follows clusters. For each account a supervisor discovers the
// kinds and runs one Reflector per kind (and per namespace, for accounts limited
// to namespaces). What arrives goes to a Sink as decoded objects; the package
// knows nothing of Spinnaker's views.
//
//	account.Registry → Fleet → supervisor (per account) → Reflector (per kind) → Sink
//
// Each reflector keeps a Stream, which says how fresh what was received is.
// Whoever reads memory asks the streams that cover what it shows: only live ones
// prove it. The lack of an error proves nothing.
package watch
