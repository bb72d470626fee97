package notify

import (
	"strings"
	"testing"

	"faultline/alert"
)

func TestTestsSaySo(t *testing.T) {
	i := founding()
	m := Message{Incident: &i, First: true, Test: true}
	if !strings.HasPrefix(m.Title(), "TEST: ") || !strings.Contains(m.Text(), "nothing has failed") || m.Event() != EventTest {
		t.Errorf("got %q and\n%s", m.Title(), m.Text())
	}
	n := Message{Notices: []alert.Notice{{Text: strings.Repeat("x", 300)}}, Test: true}
	if r := []rune(n.Title()); len(r) != maxTitle || !strings.HasPrefix(n.Title(), "TEST: ") {
		t.Errorf("got %q", n.Title())
	}
}
