package proxytest

import (
	"hash/fnv"
	"math/rand/v2"
	"strconv"
)

// hit is a fault that a request has met, with dice of its own.
type hit struct {
	*activeFault
	dice *rand.Rand
}

// roll makes the dice for the next request of a path. They depend on nothing but the
// seed, the kind of fault and the requests of the same path before this one: the
// order in which parallel requests arrive differs from run to run. Upstream.mu must
// be held.
func (f *activeFault) roll(urlPath string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(string(f.Kind) + " " + urlPath))
	f.asked[urlPath]++
	return rand.New(rand.NewPCG(f.Seed^h.Sum64(), uint64(f.asked[urlPath])))
}

// place is how many of the n bytes of an answer come before it breaks off. All of
// them is no fault.
func (f *hit) place(n int) int {
	if f.Arg == "random" && n > 0 {
		return f.dice.IntN(n)
	}
	if at, err := strconv.Atoi(f.Arg); err == nil {
		return min(at, n)
	}
	return n / 2
}
