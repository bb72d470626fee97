package alert

// chartEvery is how many points of an incident's course fit between two updates.
const chartEvery = 6

// chart adds to an incident's course how much fails now, unless the last point is new. When there are too
// many, every second one goes, and they are made half as often: the course of a long outage is coarser.
func (e *Engine) chart(f *following) {
	i := f.incident
	if i.charted == 0 {
		i.charted = e.p.Update / chartEvery
	}
	if n := len(i.Course); n > 0 && e.now.sub(stampOf(i.Course[n-1].At)) < i.charted {
		return
	}
	if len(i.Course) == MaxCourse {
		for n := range MaxCourse / 2 {
			i.Course[n] = i.Course[2*n]
		}
		i.Course = i.Course[:MaxCourse/2]
		i.charted *= 2
	}
	i.Course = append(i.Course, Point{At: e.now.time(), Failing: f.failing.Sites, Of: f.of.Sites, Vantages: e.sharesOf(f)})
}

// sharesOf is how many per cent fail at each place where anything was seen.
func (e *Engine) sharesOf(f *following) map[string]int {
	shares := map[string]int{}
	for l := range e.lanes {
		if p := e.place(l); f.seenAt[p] > 0 {
			shares[e.lanes[l].Name] = (100*f.nowAt[p] + f.seenAt[p]/2) / f.seenAt[p]
		}
	}
	return shares
}
