package notify

import "faultline/alert"

// Document is a message as other programs get it: a webhook's body, a command's input, what a template is given.
type Document struct {
	Version  int             `json:"version"`
	Event    Event           `json:"event"`
	Key      string          `json:"key"`
	Severity alert.Severity  `json:"severity"`
	Title    string          `json:"title"`
	Text     string          `json:"text"`
	Incident *alert.Incident `json:"incident,omitempty"`
	Notices  []alert.Notice  `json:"notices,omitempty"`
	Link     string          `json:"link,omitempty"`
}

// Document is m for other programs.
func (m *Message) Document() Document {
	d := Document{
		Version: 1, Event: m.Event(), Key: m.Key(), Severity: m.Severity(), Title: m.Title(), Text: m.Text(),
		Notices: m.Notices, Link: m.Link,
	}
	if m.Incident != nil {
		short := *m.Incident
		short.Course = nil // it is long, and for drawing
		d.Incident = &short
	}
	return d
}
