// Package helm has the chart of Go Clouddriver, clouddriver/, and the tests of
// its templates.
package helm
