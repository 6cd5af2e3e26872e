//go:build !race

package index

const raceDetected = false
