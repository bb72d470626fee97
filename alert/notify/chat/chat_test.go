package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"faultline/alert"
	"faultline/alert/notify"
)

func message(id string) notify.Message {
	at := time.Date(2019, 7, 2, 13, 42, 2, 0, time.UTC)
	return notify.Message{First: true, Incident: &alert.Incident{
		ID: id, Key: "faultline/main/cdn/cloudflare", Rev: 1, Domain: alert.Domain{Kind: "cdn", Name: "cloudflare"}, State: alert.StateOpen,
		Severity: alert.SeverityPage, Onset: at, OpenedAt: at, PagedAt: at, Why: []string{"its answers name it"},
	}}
}

type request struct {
	path   string
	header http.Header
	body   string
}

// service is a chat's server, which answers with a status and words.
func service(t *testing.T, status int, words string) (host string, requests chan request) {
	t.Helper()
	requests = make(chan request, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // what is missing shows
		requests <- request{r.URL.RequestURI(), r.Header, string(b)}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, words) // likewise
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), requests
}

func newChat(t *testing.T, url string) *Chat {
	t.Helper()
	c, err := New(url, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestServices(t *testing.T) {
	m := message("1")
	f := func(answer string, url func(host string) string, check func(r request) bool) {
		t.Helper()
		host, requests := service(t, http.StatusOK, answer)
		if err := newChat(t, url(host)).Deliver(t.Context(), m); err != nil {
			t.Error(err)
			return
		}
		if r := <-requests; !check(r) {
			t.Errorf("got %s %s, %v", r.path, r.body, r.header)
		}
	}
	text := strings.TrimSpace(m.Text())
	field := func(r request, name string) string {
		var all map[string]any
		_ = json.Unmarshal([]byte(r.body), &all) // what is missing shows
		s, _ := all[name].(string)
		return s
	}
	f("{}", func(host string) string { return "ntfy://" + host + "/pages?scheme=http" }, func(r request) bool {
		return r.path == "/pages" && r.body == text && r.header.Get("Title") == m.Title()
	})
	f(`{"id":1}`, func(host string) string { return "gotify://" + host + "/Aaa.bbb.ccc.ddd?disabletls=yes" }, func(r request) bool {
		return field(r, "title") == m.Title() && field(r, "message") == text
	})
	f("ok", func(host string) string { return "generic://" + host + "/hook?disabletls=yes&template=json" }, func(r request) bool {
		return field(r, "title") == m.Title() && field(r, "message") == text
	})
	f("ok", func(host string) string { return "generic+http://" + host + "/hook" }, func(r request) bool { return r.body == text })
	f("ok", func(host string) string { return "mattermost://" + host + "/t0ken?disabletls=yes" }, func(r request) bool {
		return field(r, "text") == m.Title()+"\n\n"+text && r.path == "/hooks/t0ken"
	})
	f(`{"room_id":"!r:x","event_id":"1","joined_rooms":["!r:x"]}`, func(host string) string { return "matrix://:t0ken@" + host + "/?disabletls=yes&rooms=!r:x" }, func(r request) bool {
		return strings.Contains(r.path, "t0ken")
	})
}

func TestFailures(t *testing.T) {
	f := func(status int, words string) {
		t.Helper()
		host, _ := service(t, status, words)
		c := newChat(t, "ntfy://us3rname:passw0rd@"+host+"/t0pic-name?scheme=http")
		err := c.Deliver(t.Context(), message("1"))
		if err == nil || notify.IsPermanent(err) {
			t.Errorf("%d: got %v, want an error that is tried again", status, err)
			return
		}
		for _, secret := range []string{"us3rname", "passw0rd", "t0pic", host} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q shows %q", err, secret)
			}
		}
	}
	f(http.StatusUnauthorized, `{"code":40101,"error":"unauthorized t0pic-name"}`)
	f(http.StatusInternalServerError, "oops")
	f(http.StatusOK, "this is no JSON")
	c := newChat(t, "ntfy://us3rname:passw0rd@127.0.0.1:1/t0pic-name?scheme=http")
	if err := c.Deliver(t.Context(), message("1")); err == nil || strings.Contains(err.Error(), "t0pic") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
}

// The examples of the library's documentation, and what of them must not be seen.
func TestCheck(t *testing.T) {
	for _, good := range []string{
		"slack://hook:WNA3PBYV6-F20DUQND3RQ-Webc4MAvoacrpPakR8phF0zi@webhook", "slack://xoxb:123456789012-1234567890123-4mt0t4l1YL3g1T5L4cK70k3N@C001CH4NN3L",
		"telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw@telegram?chats=@channel-1", "discord://t0k3nt0k3n@693853386302554172",
		"ntfy://ntfy.sh/topic", "pushover://shoutrrr:tokentoken@userkey/?devices=a,b", "gotify://gotify.example.com:443/AzyoeNS.D4iJLVa/?title=x",
		"matrix://user:password@matrix.example:443/?rooms=a,b", "generic+https://host.example/path", "mattermost://bot@host.example/token/channel",
	} {
		if err := Check(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "t0k3n", "https://hooks.slack.com/services/t0k3n", "telegram://s3cr3t:t0k3nt0k3n@telegram?chats=x", "slack://t0k3n-s3cr3t@x", "logger://", "ntfy+https://t0k3n",
		"teams://t0k3n", "zulip://t0k3n", "discord://t0k3n", "pushover://t0k3n", "ntfy://s3cr3t:t0k3n@host/topic?nonsense=t0k3n", "dis\ncord://t0k3n",
	} {
		err := Check(bad)
		if err == nil {
			t.Errorf("%q is taken", bad)
			continue
		}
		for _, secret := range []string{"t0k3n", "s3cr3t"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q: %q shows %q", bad, err, secret)
			}
		}
	}
}

// stuck is a send that ends when it is told to.
type stuck struct {
	began chan string
	end   chan error
}

func stick(c *Chat) stuck {
	s := stuck{make(chan string, 10), make(chan error)}
	c.send = func(_ context.Context, _ *place, _, text string) error {
		s.began <- text
		return <-s.end
	}
	return s
}

func brief(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// A send that does not end holds up no Deliver beyond its deadline, and is the only one.
func TestStuckSend(t *testing.T) {
	c := newChat(t, "ntfy://ntfy.invalid/topic")
	s := stick(c)
	for range 3 {
		if err := c.Deliver(brief(t), message("1")); err == nil || !strings.Contains(err.Error(), "no answer in time") {
			t.Fatalf("got %v", err)
		}
	}
	if err := c.Deliver(brief(t), message("2")); err == nil {
		t.Fatal("another message was taken")
	}
	if len(s.began) != 1 {
		t.Fatalf("%d sends are under way, want 1", len(s.began))
	}
	<-s.began
	s.end <- nil
	if err := c.Deliver(t.Context(), message("1")); err != nil { // it has arrived after all
		t.Error(err)
	}
	if len(s.began) != 0 {
		t.Error("what had arrived was sent again")
	}

	_ = c.Deliver(brief(t), message("3"))
	s.end <- errors.New("in vain")
	done := make(chan error, 1)
	go func() { done <- c.Deliver(t.Context(), message("4")) }()
	<-s.began
	<-s.began
	s.end <- nil
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFailedLateIsSentAgain(t *testing.T) {
	c := newChat(t, "ntfy://ntfy.invalid/topic")
	s := stick(c)
	_ = c.Deliver(brief(t), message("1"))
	f := c.now
	s.end <- errors.New("in vain")
	<-f.done
	done := make(chan error, 1)
	go func() { done <- c.Deliver(t.Context(), message("1")) }()
	<-s.began
	<-s.began
	s.end <- nil
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPanicIsAnError(t *testing.T) {
	c := newChat(t, "ntfy://ntfy.invalid/topic")
	c.send = func(context.Context, *place, string, string) error { panic("t0pic") }
	if err := c.Deliver(t.Context(), message("1")); err == nil || !strings.Contains(err.Error(), "the library failed") {
		t.Errorf("got %v", err)
	}
	if c.Folds() {
		t.Error("people fold nothing")
	}
}

func TestShape(t *testing.T) {
	f := func(l limits, title, text, wantTitle, wantText string) {
		t.Helper()
		gotTitle, gotText := l.shape(title, text)
		if gotTitle != wantTitle || gotText != wantText {
			t.Errorf("got %q, %q, want %q, %q", gotTitle, gotText, wantTitle, wantText)
		}
	}
	f(limits{true, 100}, "T\r\n", "a\nb\n", "T", "a\nb")
	f(limits{false, 100}, "T", "a\nb\n", "", "T\n\na\nb")
	f(limits{true, 20}, "T", "0123456789012\n456789", "T", "0123456789012\n456789")
	f(limits{true, 20}, "T", "0123456789012\n4567890", "T", "0123456789012\n…")
	f(limits{true, 10}, "T", "0123456789012", "T", "012345\n…")
	f(limits{true, 10}, "T", "0界界界界", "T", "0界\n…")
	for scheme, l := range byService {
		_, text := l.shape("T", strings.Repeat("界\n", 1<<16))
		if len(text) > l.most || !utf8.ValidString(text) {
			t.Errorf("%s: got %d bytes", scheme, len(text))
		}
	}
	for _, scheme := range services() {
		if l := limitsOf(scheme); l.most < 500 {
			t.Errorf("%s: got %+v", scheme, l)
		}
	}
}

func TestTelegram(t *testing.T) {
	const url = "telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw@telegram?chats=@one,-100200:7&notification=no"
	f := func(status int, words, want string) []request {
		t.Helper()
		host, requests := service(t, status, words)
		telegramURL = "http://" + host
		err := newChat(t, url).Deliver(t.Context(), message("1"))
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%d: got %v, want %q", status, err, want)
		case err != nil && strings.Contains(err.Error(), "AAHdq"):
			t.Errorf("%q shows the token", err)
		}
		close(requests)
		var out []request
		for r := range requests {
			out = append(out, r)
		}
		return out
	}
	before := telegramURL
	defer func() { telegramURL = before }()
	got := f(http.StatusOK, `{"ok":true,"result":{}}`, "")
	var first, second map[string]any
	if len(got) != 2 || json.Unmarshal([]byte(got[0].body), &first) != nil || json.Unmarshal([]byte(got[1].body), &second) != nil {
		t.Fatalf("got %+v", got)
	}
	m := message("1")
	want := map[string]any{
		"chat_id": "@one", "text": m.Title() + "\n\n" + strings.TrimSpace(m.Text()), "disable_notification": true, "link_preview_options": map[string]any{"is_disabled": false},
	}
	if d := cmp.Diff(first, want); d != "" {
		t.Errorf("-got +want:\n%s", d)
	}
	if second["chat_id"] != "-100200" || second["message_thread_id"] != 7.0 || got[0].path != "/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/sendMessage" {
		t.Errorf("got %v at %s", second, got[0].path)
	}
	f(http.StatusForbidden, `{"ok":false,"error_code":403,"description":"Forbidden: bot was kicked"}`, "bot was kicked")
	f(http.StatusBadGateway, "<html>", "nothing that Telegram would say")
	host, _ := service(t, http.StatusTooManyRequests, `{"ok":false,"parameters":{"retry_after":17}}`)
	telegramURL = "http://" + host
	var retry *notify.RetryError
	if err := newChat(t, url).Deliver(t.Context(), message("1")); !errors.As(err, &retry) || retry.After != 17*time.Second {
		t.Errorf("got %v, want to be told when", err)
	}
	telegramURL = "http://127.0.0.1:1" // the library's own would call this sent
	if err := newChat(t, url).Deliver(t.Context(), message("1")); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
}

// One chat that takes no messages keeps no page from the others, and makes nobody get it twice.
func TestTelegramChatsApart(t *testing.T) {
	before := telegramURL
	defer func() { telegramURL = before }()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // what is missing shows
		if strings.Contains(string(b), "@one") {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"ok":false,"description":"bot was kicked"}`)
			return
		}
		_, _ = io.WriteString(w, `{"ok":true}`)
	}))
	defer s.Close()
	telegramURL = s.URL
	var log bytes.Buffer
	c, err := New("telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw@telegram?chats=@one,@two", zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Deliver(t.Context(), message("1")); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "bot was kicked") {
		t.Errorf("got the log %q", log.String())
	}
}

// A send that never ends is given up after a minute, so that the next page finds its way; but not without end.
func TestStuckForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChat(t, "ntfy://ntfy.invalid/topic")
		began, end := make(chan struct{}, 100), make(chan struct{})
		c.send = func(context.Context, *place, string, string) error {
			began <- struct{}{}
			<-end
			return nil
		}
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if err := c.Deliver(ctx, message("1")); err == nil {
				t.Error("it was taken")
			}
			cancel()
			time.Sleep(time.Minute)
		}
		if len(began) != maxStuck+1 {
			t.Errorf("%d sends were begun, want %d", len(began), maxStuck+1)
		}
		close(end)
		synctest.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.stuck != 0 {
			t.Errorf("%d are still counted as stuck", c.stuck)
		}
	})
}
