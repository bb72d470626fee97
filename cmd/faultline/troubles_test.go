package main

import (
	"errors"
	"testing"

	"faultline/alert"
)

// The store's trouble lasts as long as it fails for anything; and one that comes back within the same second is news.
func TestStoreTrouble(t *testing.T) {
	var told []alert.Incident
	tell := func(is []alert.Incident, _ []alert.Notice) { told = append(told, is...) }
	ts := troubles{fleet: "main"}
	ts.take(nil)
	var f failures
	note := func(what string, err error) {
		f.note(what, err, func() { ts.raise(troubleStore, what, tell) }, func() { ts.clear(troubleStore, tell) })
	}
	full := errors.New("no space left on device")
	note(savingPages, nil)
	note(savingCounts, full)
	note(savingPages, full)
	note(savingCounts, nil)
	if len(told) != 1 || len(ts.list()) != 1 {
		t.Fatalf("told %+v, want one that is open", told)
	}
	note(savingPages, nil)
	note(savingLearned, full)
	if len(told) != 3 || told[1].State != alert.StateResolved || told[2].State != alert.StateOpen {
		t.Fatalf("told %+v", told)
	}
	if told[2].ID == told[1].ID && told[2].Rev <= told[1].Rev {
		t.Errorf("the second one has revision %d of the same incident as the first, which ended with %d", told[2].Rev, told[1].Rev)
	}
}
