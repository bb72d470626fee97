package notify

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"testing"
	"time"
	"unicode/utf8"
)

// schema is the part of JSON Schema that the files in testdata use; another keyword is an error when it is read.
type schema struct {
	Comment    string             `json:"$comment"`
	Type       string             `json:"type"`
	Required   []string           `json:"required"`
	Additional *bool              `json:"additionalProperties"`
	Properties map[string]*schema `json:"properties"`
	Items      *schema            `json:"items"`
	Enum       []string           `json:"enum"`
	MaxLength  *int               `json:"maxLength"`
	Format     string             `json:"format"`
}

func readSchema(t *testing.T, file string) *schema {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	var s schema
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// check names everything in v that the schema does not allow.
func (s *schema) check(at string, v any) []string {
	kind, wrong := "string", []string(nil)
	switch v := v.(type) {
	case map[string]any:
		kind, wrong = "object", s.checkObject(at, v)
	case []any:
		kind = "array"
		for i, x := range v {
			wrong = append(wrong, s.Items.check(fmt.Sprintf("%s[%d]", at, i), x)...)
		}
	case string:
		wrong = s.checkString(at, v)
	default:
		kind = fmt.Sprintf("%T", v)
	}
	if s.Type != "" && s.Type != kind {
		wrong = append(wrong, fmt.Sprintf("%s is %s, not %s", at, kind, s.Type))
	}
	if s.Enum != nil && kind != "string" {
		wrong = append(wrong, at+" is no string")
	}
	return wrong
}

func (s *schema) checkObject(at string, v map[string]any) (wrong []string) {
	for _, k := range s.Required {
		if _, ok := v[k]; !ok {
			wrong = append(wrong, at+" lacks "+k)
		}
	}
	for k, x := range v {
		if p, ok := s.Properties[k]; ok {
			wrong = append(wrong, p.check(at+"."+k, x)...)
		} else if s.Additional != nil && !*s.Additional {
			wrong = append(wrong, at+" has "+k)
		}
	}
	return wrong
}

func (s *schema) checkString(at, v string) (wrong []string) {
	if s.Enum != nil && !slices.Contains(s.Enum, v) {
		wrong = append(wrong, fmt.Sprintf("%s is %q", at, v))
	}
	if s.MaxLength != nil && utf8.RuneCountInString(v) > *s.MaxLength {
		wrong = append(wrong, at+" is too long")
	}
	switch s.Format {
	case "url":
		if u, err := url.Parse(v); err != nil || u.Scheme == "" || u.Host == "" {
			wrong = append(wrong, at+" is no URL")
		}
	case "date-time":
		if _, err := time.Parse(time.RFC3339, v); err != nil {
			wrong = append(wrong, at+" is no time")
		}
	}
	return wrong
}

func TestSchemaChecker(t *testing.T) {
	s := readSchema(t, "testdata/pagerduty-events-v2.schema.json")
	f := func(text string, want int) {
		t.Helper()
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if got := s.check("event", v); len(got) != want {
			t.Errorf("%s: got %q, want %d mistakes", text, got, want)
		}
	}
	// The example of PagerDuty's own documentation, less its images, and with the colon that RFC 3339 wants in an offset.
	f(`{"payload": {"summary": "DISK at 99% on machine prod-datapipe03.example.com", "timestamp": "2015-07-17T08:42:58.315+00:00", "severity": "critical",
		"source": "prod-datapipe03.example.com", "component": "mysql", "group": "prod-datapipe", "class": "disk",
		"custom_details": {"free space": "1%", "ping time": "1500ms", "load avg": 0.75}},
		"routing_key": "e93facc04764012d7bfb002500d5d1a6", "dedup_key": "srv01/mysql", "event_action": "trigger", "client": "Sample Monitoring Service",
		"client_url": "https://monitoring.service.com", "links": [{"href": "http://pagerduty.example.com", "text": "An example link."}]}`, 0)
	f(`{}`, 2)
	f(`[]`, 1)
	f(`{"routing_key": 1, "event_action": "open", "colour": "red"}`, 3)
	f(`{"routing_key": "k", "event_action": 1}`, 1)
	f(`{"routing_key": "k", "event_action": "trigger", "payload": {"summary": "s", "severity": "page", "timestamp": "today"}}`, 3)
	f(`{"routing_key": "k", "event_action": "trigger", "links": [{"text": "x"}, {"href": "nowhere"}]}`, 2)
}
