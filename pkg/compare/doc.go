// Package compare reads every view that Deck and Orca read from two
// Clouddrivers and tells what differs in meaning: the order of rows, a key that
// is absent against one that is null, and the spelling of a time make no
// difference. It only reads.
//
//	accounts, applications of both → routes (routes.go) → two answers (ask.go)
//	→ differences (diff.go, pure) → a second look at them → report (report.go)
package compare
