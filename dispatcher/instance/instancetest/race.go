//go:build race

package instancetest

func init() { raceDetector = true }
