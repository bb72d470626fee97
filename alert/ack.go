package alert

import "time"

// Ack says that someone has taken an incident on: nobody is reminded of it any more, and no other channel takes over.
// What becomes of it is still told.
type Ack struct {
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	Comment string    `json:"comment,omitempty"`
}

// Acknowledge notes that someone has taken on an open incident, and tells so through out. False = none of that ID is open.
// A second one changes nothing.
func (e *Engine) Acknowledge(id string, a Ack, out *Effects) bool {
	for _, i := range e.incidents {
		if i.ID != id {
			continue
		}
		if i.Ack == nil {
			i.Ack = &a
			i.Rev++
			e.emit(i, out)
		}
		return true
	}
	return false
}

func (a *Ack) words() string {
	s := "by " + a.By + " at " + clock(a.At) + " UTC"
	if a.Comment != "" {
		s += ": " + a.Comment
	}
	return s
}
