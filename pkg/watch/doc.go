// Package watch follows clusters. For each account a Supervisor discovers the
// kinds, runs one Reflector per kind (and per namespace, for accounts limited
// to namespaces) and keeps the account's health. What arrives goes to a Sink
// as decoded objects; the package knows nothing of Spinnaker's views.
//
//	account.Registry → Fleet → Supervisor (per account) → Reflector (per kind) → Sink
package watch
