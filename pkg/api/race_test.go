//go:build race

package api

const raceDetected = true
