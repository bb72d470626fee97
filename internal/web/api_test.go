package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func getJSON(t *testing.T, h http.Handler, target string) map[string]any {
	t.Helper()
	w := request(h, "GET", target)
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("GET %s: %v in %q", target, err, w.Body)
	}
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: got %d %v, want 200", target, w.Code, got)
	}
	return got
}

// column is the value of key in every item.
func column(list map[string]any, key string) []string {
	var out []string
	for _, item := range list["items"].([]any) {
		out = append(out, fmt.Sprint(item.(map[string]any)[key]))
	}
	return out
}

func TestListIncidents(t *testing.T) {
	h := New(sampleConfig(sampleView()))
	f := func(query string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(column(getJSON(t, h, "/api/v1/incidents"+query), "id"), want); diff != "" {
			t.Errorf("incidents%s (-got +want):\n%s", query, diff)
		}
	}
	alone, old := "20190702T134000Z-origin-example", "20190701T000000Z-cdn-fastly"
	f("", alone, cloudflareID, old)
	f("?state=all", alone, cloudflareID, old)
	f("?state=open", alone, cloudflareID)
	f("?limit=1&offset=1", cloudflareID)
	f("?offset=99")
}

func TestOneIncident(t *testing.T) {
	h := New(sampleConfig(sampleView()))
	got := getJSON(t, h, "/api/v1/incidents/"+cloudflareID)
	for _, key := range []string{"id", "domain", "members", "evidence", "title", "text", "onset"} {
		if got[key] == nil {
			t.Errorf("incident has no %s: %v", key, got)
		}
	}
	if brief := getJSON(t, h, "/api/v1/incidents")["items"].([]any)[1].(map[string]any); brief["evidence"] != nil || brief["title"] == nil {
		t.Errorf("in the list: got %v, want a title and no evidence", brief)
	}
}

func TestListTheRest(t *testing.T) {
	h := New(sampleConfig(sampleView()))
	if diff := cmp.Diff(column(getJSON(t, h, "/api/v1/vantages"), "name"), []string{"hkg-1", "ams-1"}); diff != "" {
		t.Errorf("vantages (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(column(getJSON(t, h, "/api/v1/domains"), "kind"), []string{"cdn", "cdn", "cdn", "origin"}); diff != "" {
		t.Errorf("domains (-got +want):\n%s", diff)
	}
	site := getJSON(t, h, "/api/v1/sites?offset=1&limit=1")["items"].([]any)[0].(map[string]any)
	got := site["cells"].([]any)[0]
	want := map[string]any{
		"vantage": "hkg-1", "state": "failing", "class": "http_edge_error", "fault": "edge",
		"at": "2019-07-02T13:46:00Z", "since": "2019-07-02T13:46:00Z",
	}
	if diff := cmp.Diff(got, any(want)); diff != "" {
		t.Errorf("cell (-got +want):\n%s", diff)
	}
}

func TestProblems(t *testing.T) {
	h := New(sampleConfig(sampleView()))
	f := func(path string, status int, detail string) {
		t.Helper()
		w := request(h, "GET", path)
		var got struct {
			Status int
			Detail string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if w.Code != status || got.Status != status || !strings.Contains(got.Detail, detail) ||
			w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %d %s %q, want problem %d %q", path, w.Code, w.Header().Get("Content-Type"), w.Body, status, detail)
		}
	}
	f("/api/v1/incidents/none", 404, "no such incident")
	f("/api/v1/nothing", 404, "no such endpoint")
	f("/api/v1/incidents?state=shut", 400, "shut")
	f("/api/v1/sites?limit=0", 400, "limit")
	f("/api/v1/sites?limit=99999", 400, "1000")
	f("/api/v1/sites?offset=x", 400, "offset")
	f("/api/v1/stream?events=everything", 400, "everything")
}
