package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
)

//go:embed report.html
var pageText string

//go:embed chart.html
var chartText string

//go:embed report.css
var style string

var page = template.Must(template.Must(template.New("report").Parse(pageText)).New("chart").Parse(chartText))

// policy lets the page use its own style, and nothing else: no script, no request, no form.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// sheet is what the page is made of.
type sheet struct {
	*story
	Style  template.CSS
	Policy string
}

// Listed are the failing sites that are shown at once, and Folded the others.
func (s *sheet) Listed() []member { return s.Members[:min(len(s.Members), unfolded)] }

// Folded are the failing sites that a reader has to unfold.
func (s *sheet) Folded() []member { return s.Members[len(s.Listed()):] }

// HTML writes the report as one file that needs nothing else, and asks nobody for anything.
func (r *Report) HTML(w io.Writer) error {
	var b bytes.Buffer
	if err := page.ExecuteTemplate(&b, "report", &sheet{r.story(), template.CSS(style), policy}); err != nil { //nolint:gosec // a file of ours
		return fmt.Errorf("rendering the report: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing the report as HTML: %w", err)
	}
	return nil
}
