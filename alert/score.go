package alert

import (
	"math"
	"time"
)

// The score of a domain is a likelihood ratio, in nats: how much better the answers are explained by "the domain began to
// fail at tau" than by "each of its owners failed by itself, as often as he is known to". It weighs the synchrony of
// onsets, not how many are bad: sites that were down already, and slow drift, add nothing. Detection study, section 3.

// guess is one way in which a domain may fail.
type guess struct {
	share float64       // of its owners that are affected
	fail  *failing      // of an affected site's probes
	ramp  time.Duration // over which owners become affected; 0 = all at once
}

// failing is a share of a site's probes that fail, with the likelihoods of so many failing and so many good answers.
type failing struct {
	share  float64
	chance [mostAnswers + 1][mostAnswers + 1]float64
}

func failingAt(share float64) *failing {
	f := &failing{share: share}
	for fails := range f.chance {
		for fine := range f.chance[fails] {
			f.chance[fails][fine] = math.Pow(share, float64(fails)) * math.Pow(1-share, float64(fine))
		}
	}
	return f
}

var nearlyAll, nearlyHalf = failingAt(0.97), failingAt(0.45)

const (
	numGuesses = 16
	mostRamp   = 240 * time.Second
)

var guesses = func() (g [numGuesses]guess) {
	n := 0
	for _, share := range []float64{0.12, 0.3, 0.6, 0.95} {
		for _, how := range []guess{{fail: nearlyAll}, {fail: nearlyHalf}, {fail: nearlyAll, ramp: 60 * time.Second}, {fail: nearlyAll, ramp: mostRamp}} {
			how.share = share
			g[n] = how
			n++
		}
	}
	return g
}()

// Bounds of the evidence of one owner.
const (
	mostAnswers   = 8    // answers of one site that count; more are scaled down
	mostNoise     = 3    // failures at one vantage that noise must explain
	mostRatio     = 1e12 // of likelihoods
	mostWitnesses = 8    // failing sites of one owner that count
	ageStep       = 10 * time.Second
	ageSteps      = int(mostRamp/ageStep) + 1
)

// witness is what one failing site of an owner shows, seen from tau.
type witness struct {
	fails, fine int           // answers since its onset
	before      int           // good answers between tau and its onset
	late        time.Duration // its onset - tau
	gap         time.Duration // from its last good answer to its onset, at least 1 s and at most its interval
	noise       float64       // chance that these are nothing but failures of single probes
	rate        float64       // at which the site begins to fail by itself; per second
}

// scaled gives failing and good answers, no more than count.
func (w *witness) scaled() (fails, fine int) {
	n := min(mostAnswers, w.fails+w.fine)
	fails = int(math.RoundToEven(float64(n*w.fails) / float64(w.fails+w.fine)))
	return fails, n - fails
}

// bad is the likelihood of a site's answers when it is bad, however it became so.
func bad(fails, fine int) float64 {
	return max(nearlyAll.chance[fails][fine], nearlyHalf.chance[fails][fine])
}

// scorer sums up the owners of one domain, for one tau.
type scorer struct {
	failing [numGuesses]float64
	fine    [mostAnswers + 1]float64 // owners that are well, by how many answers show it
	aged    [ageSteps]float64        // likewise, by how long after tau the newest of them was
}

// ownerFails enters an owner with failing sites, and with others that gave fine good answers, the newest of them age after
// tau. Spread is the time between two looks at a site from anywhere.
func (s *scorer) ownerFails(ws []witness, fine int, age, spread time.Duration, weight float64) {
	ws = ws[:min(len(ws), mostWitnesses)]
	apart, together := 1.0, nearlyAll.chance[0][min(fine, mostAnswers)]
	rate, gap := 0.0, time.Duration(math.MaxInt64)
	for i := range ws {
		w := &ws[i]
		b := bad(w.scaled())
		a := min(1, w.rate*w.gap.Seconds())
		apart *= (1-a)*w.noise + a*b
		together *= b
		rate, gap = max(rate, w.rate), min(gap, w.gap)
	}
	if len(ws) > 1 || fine > 0 { // he may have failed as a whole
		a := min(1, rate*max(gap, spread).Seconds())
		apart = (1-a)*apart + a*together
	}
	for g := range guesses {
		h := &guesses[g]
		q := h.fine(fine, age)
		for i := range ws {
			q *= h.fails(&ws[i])
		}
		s.failing[g] += weight * math.Log((1-h.share)+h.share*min(q/apart, mostRatio))
	}
}

// fails is the likelihood of a failing site's answers if it is affected.
func (h *guess) fails(w *witness) float64 {
	fails, fine := w.scaled()
	y := h.fail.chance[fails][fine]
	switch {
	case h.ramp == 0:
		return y * h.fail.chance[0][min(w.before, mostAnswers)]
	case w.late <= h.ramp:
		return y * min(1, w.gap.Seconds()/h.ramp.Seconds())
	default:
		return 0
	}
}

// fine is the likelihood of good answers, the newest of them age after tau, of sites that are affected.
func (h *guess) fine(fine int, age time.Duration) float64 {
	switch {
	case fine == 0:
		return 1
	case h.ramp == 0:
		return h.fail.chance[0][min(fine, mostAnswers)]
	default:
		return max(0, 1-age.Seconds()/h.ramp.Seconds())
	}
}

// ownerWell enters an owner none of whose sites fails, and that gave fine good answers since tau, the newest age after it.
func (s *scorer) ownerWell(fine int, age time.Duration, weight float64) {
	s.fine[min(fine, mostAnswers)] += weight
	s.aged[min(int(age/ageStep), ageSteps-1)] += weight
}

// wellLogs holds what an owner that is well adds to the score under each guess.
var wellLogs = func() (t struct {
	fine [numGuesses][mostAnswers + 1]float64
	aged [numGuesses][ageSteps]float64
},
) {
	for g := range guesses {
		h := &guesses[g]
		for n := 1; n <= mostAnswers; n++ {
			t.fine[g][n] = math.Log((1 - h.share) + h.share*h.fine(n, 0))
		}
		for a := range ageSteps {
			t.aged[g][a] = math.Log((1 - h.share) + h.share*h.fine(1, time.Duration(a)*ageStep+ageStep/2))
		}
	}
	return t
}()

// score is the mean over all guesses of how the domain may fail. stretch multiplies what the failing owners say, where
// only one in so many of them was entered.
func (s *scorer) score(stretch float64) float64 {
	var sum [numGuesses]float64
	most := math.Inf(-1)
	for g := range guesses {
		sum[g] = s.failing[g] * stretch
		if guesses[g].ramp == 0 {
			for n, k := range s.fine {
				sum[g] += k * wellLogs.fine[g][n]
			}
		} else {
			for a, k := range s.aged {
				sum[g] += k * wellLogs.aged[g][a]
			}
		}
		most = max(most, sum[g])
	}
	total := 0.0
	for _, x := range sum {
		total += math.Exp(x - most)
	}
	return most + math.Log(total/numGuesses)
}

// threshold is the score above which a domain's failure is no chance, at so many false pages a year over all domains: by
// Ville's inequality the chance that the ratio ever exceeds e^h is at most e^-h, for each of the moments at which an
// outage may have begun. A cap of 24 nats is safe for any size. Detection study, section 2.
func threshold(answersPerSecond float64, domains int, falsePagesPerYear float64) float64 {
	const (
		year = 365.25 * 24 * 3600
		most = 24
	)
	return min(most, max(0, math.Log(answersPerSecond*year*float64(max(1, domains))/falsePagesPerYear)))
}

// enriched is the chance, under the hypergeometric law (Fisher's exact test, one-sided), that at least k of n members
// fail when k+c of all n+m do: small means that membership matters.
func enriched(k, n, c, m int) float64 {
	choose := func(a, b int) float64 {
		x, _ := math.Lgamma(float64(a + 1))
		y, _ := math.Lgamma(float64(b + 1))
		z, _ := math.Lgamma(float64(a - b + 1))
		return x - y - z
	}
	p := 0.0
	for j := k; j <= min(n, k+c); j++ {
		if k+c-j <= m {
			p += math.Exp(choose(n, j) + choose(m, k+c-j) - choose(n+m, k+c))
		}
	}
	return min(p, 1)
}
