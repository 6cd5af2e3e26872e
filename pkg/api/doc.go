// Package api is the HTTP surface that Gate, Orca and Deck call. Handlers
// decode, ask the index and encode; one file per resource.
package api
