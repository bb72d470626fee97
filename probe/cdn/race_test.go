//go:build race

package cdn

const underRace = true
