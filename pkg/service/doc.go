// Package service is the one assembly of all parts into a running service, from
// settings. What main starts and what the tests start is the same.
//
//	settings → New: accounts, store, index, watch, ledger, task, api → Serve
//
// A front stands before the API from the first moment to the last: it accepts
// while the parts are put together, and while they end, and says 503 then.
package service
