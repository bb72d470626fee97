package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"faultline/internal/report"
)

const reportedID = "20190702T134202Z-cdn-cloudflare"

// incidentServer is a daemon that knows one incident, of which it has no captures unless they are given.
func incidentServer(t *testing.T, captures string) string {
	t.Helper()
	mux := http.NewServeMux()
	say := func(path, body string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
	}
	say("/api/v1/incidents", `{"total":1,"items":[{"id":"`+reportedID+`"}]}`)
	say("/api/v1/incidents/"+reportedID, `{
		"id":"`+reportedID+`","domain":{"kind":"cdn","name":"cloudflare"},"state":"resolved","severity":"page","assessment":"provider_outage","text":"…",
		"onset":"2019-07-02T13:42:02Z","opened_at":"2019-07-02T13:42:05Z","paged_at":"2019-07-02T13:42:05Z","recovering_at":"2019-07-02T14:09:00Z",
		"resolved_at":"2019-07-02T14:14:00Z","waves":1,
		"deliveries":[{"at":"2019-07-02T13:42:06Z","channel":"pager","event":"page","outcome":"accepted"}]}`)
	if captures != "" {
		say("/api/v1/incidents/"+reportedID+"/captures", captures)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL + "/"
}

const oneCapture = `{"total":1,"items":[{"site":"lihkg","url":"https://lihkg.com/","vantage":"hkg-1","seq":3,"at":"2019-07-02T13:42:02Z","class":"http_edge_error",
	"status":"HTTP/1.1 502 Bad Gateway","body":"PGgxPm5vPC9oMT4=","ms":{"total":31}}]}`

func TestReportCommand(t *testing.T) {
	server := incidentServer(t, oneCapture)
	f := func(format, id string, wants ...string) {
		t.Helper()
		status, out, errs := command(t, "report", id, "--format", format, "--server", server)
		if status != exitOK || errs != "" {
			t.Fatalf("got %d %s", status, errs)
		}
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("%s of %s lacks %q:\n%s", format, id, want, out)
			}
		}
	}
	f("md", reportedID, "# Cloudflare's edge failed for 26 min 58 s on 2 July 2019", "pager took the page after 4.0 s", "HTTP/1.1 502 Bad Gateway", "<h1>no</h1>")
	f("html", "last", "<!DOCTYPE html>", "&lt;h1&gt;no&lt;/h1&gt;")
	f("json", "last", `"deliveries": [`)
}

func TestReportToAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	status, out, errs := command(t, "report", "last", "--format", "json", "--output", file, "--server", incidentServer(t, oneCapture))
	if status != exitOK || out != "" || errs != "" {
		t.Fatalf("got %d %q %q", status, out, errs)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal(b, &r); err != nil || r.Incident.ID != reportedID || len(r.Captures) != 1 || len(r.Deliveries) != 1 || r.Made.IsZero() {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestReportWithoutCaptures(t *testing.T) {
	status, out, errs := command(t, "report", "last", "--server", incidentServer(t, ""))
	if status != exitOK || !strings.HasPrefix(out, "# Cloudflare") || !strings.Contains(errs, "the report lacks what the failing looks saw: asking the daemon: it answered 404") {
		t.Errorf("got %d %q %q", status, out, errs)
	}
}

func TestReportSaysWhatToDo(t *testing.T) {
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"items":[]}`) }))
	defer empty.Close()
	full := incidentServer(t, "")
	f := func(want string, args ...string) {
		t.Helper()
		status, out, errs := command(t, append([]string{"report"}, args...)...)
		if status != exitUsage || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%q: got %d %q %q, want %q", args, status, out, errs, want)
		}
	}
	f("accepts 1 arg(s)")
	f("md, html or json", "last", "--format", "pdf", "--server", full)
	f("`faultline incidents --all` shows those it knows", "nothing/like it", "--server", full)
	f("nothing shared has failed since it began to watch", "last", "--server", empty.URL)
	f("is it running", "last", "--server", "http://127.0.0.1:1")
	f("writing the report", "last", "--server", full, "--output", filepath.Join(t.TempDir(), "no", "such"))
}
