package simnet

import "math/rand/v2"

// mix makes one well-mixed number of several (splitmix64): the same in, the same out, on every machine.
func mix(xs ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, x := range xs {
		h = (h ^ x) + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// unit is a number in [0, 1) made of several.
func unit(xs ...uint64) float64 { return float64(mix(xs...)>>11) / (1 << 53) }

// What a number is drawn for, so that draws of the same seed are independent.
const (
	drawShare uint64 = iota + 1
	drawFail
	drawOnset
	drawStatus
	drawProbe
)

// ranks is a permutation of n things drawn from a seed.
func ranks(seed uint64, n int) []int { return rand.New(rand.NewPCG(seed, drawShare)).Perm(n) }
