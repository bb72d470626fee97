package history

import "time"

// Figure is how a site did over a time that ends now.
type Figure struct {
	Over   string    `json:"over"`
	Since  time.Time `json:"since"`
	Uptime *float64  `json:"uptime,omitempty"` // ok / (ok + failed); absent when neither was seen
	Seen   float64   `json:"seen"`             // share of the slots since, in which it was seen as well or as failing
	Counts
}

// spans are the times that figures are given for. Days are whole ones of UTC, the present one as far as it has come.
var spans = []struct {
	over string
	step Step
	n    int64
}{
	{"24h", Slot, int64(Day / Slot)},
	{"7d", Day, 7},
	{"30d", Day, 30},
	{"365d", Day, 365},
}

// Figures gives a site's figures at now. slots and days are all that is kept of it.
func Figures(now time.Time, slots, days []Item) []Figure {
	figures := make([]Figure, 0, len(spans))
	for _, span := range spans {
		items := slots
		if span.step == Day {
			items = days
		}
		present := span.step.Of(now)
		f := Figure{Over: span.over, Since: span.step.Start(present - span.n + 1)}
		seen := uint32(0)
		for i := range items {
			if n := items[i].N; n > present-span.n && n <= present {
				f.Add(items[i].Counts)
				seen += items[i].Seen
			}
		}
		f.Uptime, f.Seen = f.uptime(), SeenShare(seen, f.Since, now)
		figures = append(figures, f)
	}
	return figures
}

// behind is how long after a look its count is there to be read: it is held, and then saved within a minute.
const behind = Hold + time.Minute

// SeenShare is the share that seen slots are of all that began in [since, until] and can have been counted by then.
func SeenShare(seen uint32, since, until time.Time) float64 {
	all := Slot.Of(until.Add(-behind)) - Slot.Of(since) + 1
	return min(1, float64(seen)/float64(max(1, all)))
}
