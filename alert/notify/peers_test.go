package notify

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"faultline/alert"
)

// person is a channel whose receiver sees everything that it is sent.
type person struct{ fakeChannel }

func (*person) Folds() bool { return false }

// hubs are two that decide the same, with marks between them as long as link holds.
type hubs struct {
	d    [2]*Deliverer
	stop [2]func() error
	link bool
}

func twoHubs(t *testing.T, c ...NamedChannel) *hubs {
	t.Helper()
	h := &hubs{link: true}
	for n := range h.d {
		h.d[n], h.stop[n] = running(t, Config{Book: &fakeBook{}, Channels: c, Peers: Peers{
			Wait: time.Duration(n) * 15 * time.Second,
			Tell: func(m Mark) {
				if h.link {
					h.d[1-n].Marked(m)
				}
			},
		}}, nil, nil)
	}
	return h
}

// decide is told to both, a little later to the second one, which has another name for it.
func (h *hubs) decide(i alert.Incident) {
	tell(h.d[0], i)
	after(300 * time.Millisecond)
	i.ID, i.Rev = i.ID+"'", i.Rev+7
	tell(h.d[1], i)
}

func (h *hubs) end() {
	for _, stop := range h.stop {
		_ = stop()
	}
}

// Two hubs send one mail of each kind, and both their triggers where the receiver folds them.
func TestOneMailOfTwoHubs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail, pager := &person{}, &fakeChannel{}
		h := twoHubs(t, NamedChannel{Name: "mail", Channel: mail, Notices: true}, NamedChannel{Name: "pager", Channel: pager})
		h.decide(page("a", 1))
		after(time.Second)
		mail.check(t, "page a.1")
		pager.check(t, "page a.1", "page a'.8")
		after(time.Minute)
		h.decide(page("a", 2))
		after(time.Minute)
		h.decide(takenOn(page("a", 3)))
		after(time.Minute)
		h.decide(over(takenOn(page("a", 3))))
		for _, d := range h.d {
			d.Tell(nil, []alert.Notice{{ID: "n", Key: "slow/x"}})
		}
		after(time.Minute)
		slices.Sort(mail.took)
		mail.check(t, "acknowledged a.3", "notice n", "page a.1", "resolved a.4", "update a.2")
		if n := h.d[1].Pending(); n != 0 {
			t.Errorf("%d are pending at the second hub", n)
		}
		h.end()
	})
}

// The first hub dies before its page, or after it; the second one tells what is not told.
func TestFirstHubDies(t *testing.T) {
	f := func(told bool, want ...string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			mail := &person{}
			h := twoHubs(t, NamedChannel{Name: "mail", Channel: mail})
			if told {
				tell(h.d[0], page("a", 1))
				after(time.Second)
			}
			_ = h.stop[0]()
			i := page("a", 1)
			i.ID = "a'"
			tell(h.d[1], i)
			after(14 * time.Second)
			if !told {
				mail.check(t)
			}
			after(2 * time.Second)
			tell(h.d[1], over(i))
			after(16 * time.Second)
			mail.check(t, want...)
			h.end()
		})
	}
	f(false, "page a'.1", "resolved a'.2")
	f(true, "page a.1", "resolved a'.2")
}

// Cut off from each other both tell: two mails, not more, and none is lost.
func TestHubsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := &person{}
		h := twoHubs(t, NamedChannel{Name: "mail", Channel: mail})
		h.link = false
		h.decide(page("a", 1))
		after(time.Minute)
		mail.check(t, "page a.1", "page a'.8")
		h.link = true
		h.decide(over(page("a", 1)))
		after(time.Minute)
		mail.check(t, "page a.1", "page a'.8", "resolved a.2")
		h.end()
	})
}

// What was told of yesterday's outage says nothing of today's under the same key.
func TestOldMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := &person{}
		h := twoHubs(t, NamedChannel{Name: "mail", Channel: mail})
		h.decide(page("a", 1))
		after(time.Minute)
		h.decide(over(page("a", 1)))
		after(time.Hour)
		_ = h.stop[0]()
		b := page("b", 1)
		b.Key = page("a", 1).Key
		tell(h.d[1], b)
		after(16 * time.Second)
		mail.check(t, "page a.1", "resolved a.2", "page b.1")
		h.end()
	})
}
