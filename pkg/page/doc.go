// Package page is the page for people: HTML that is rendered here, one
// stylesheet, and a script that renders what is live anew. It works without the
// script, and asks no other host for anything.
//
// It turns models into pages and does nothing else: who asks, and where the
// models come from, is the API's (pkg/api/page.go).
//
//	index, view, watch, store → models (one file per page) → templates → bytes
package page
