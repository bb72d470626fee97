// Package report tells one incident from its onset to its end, for those who look at it afterwards: as Markdown, as one
// HTML file, and as JSON. What it is given comes from outside, and is shown as text, never as anything else.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"faultline/alert"
	"faultline/alert/notify"
	"faultline/probe"
)

// Report is what is known of an incident. As JSON it is {"incident", "captures", "deliveries", "made", "version"}, each part
// in the form that the API gives it in; a part of which nothing is known is absent.
type Report struct {
	Incident   alert.Incident   `json:"incident"`
	Captures   []*probe.Capture `json:"captures,omitempty"`   // what its failing looks saw; the body of a response is base64
	Deliveries []notify.Told    `json:"deliveries,omitempty"` // how people were told, in the order in which it went
	Made       time.Time        `json:"made"`
	Version    string           `json:"version,omitempty"` // of the program that made it
}

// Bounds of what a report shows, whatever it is given.
const (
	maxName       = 80      // characters of a name
	maxSentence   = 600     // characters of a sentence
	maxReasons    = 20      // sentences of one kind
	maxLooks      = 20      // failing looks
	maxMembers    = 200     // failing sites
	unfolded      = 50      // rows of a table that are shown at once
	maxDeliveries = 200     // messages
	maxVantages   = 30      // in the chart
	maxAnswer     = 4 << 10 // bytes of a header, of a body, and of a DNS message
)

// JSON writes the report for programs.
func (r *Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("writing the report as JSON: %w", err)
	}
	return nil
}
