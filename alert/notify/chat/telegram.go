package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/telegram"

	"faultline/alert/notify"
)

// telegramURL is Telegram's Bot API. A test has its own.
var telegramURL = "https://api.telegram.org"

const (
	telegramTimeout = 10 * time.Second
	maxAnswer       = 64 << 10
)

// sendTelegram takes the library's word for what the URL means, but not for whether Telegram was reached: it calls a
// message sent whenever the answer is not one of Telegram's, as when there is no network (v0.13.2, GetErrorResponse).
func sendTelegram(ctx context.Context, p *place, _, text string) error {
	var c telegram.Config
	c.Preview, c.Notification = true, true
	if err := c.SetURL(p.url); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, telegramTimeout)
	defer cancel()
	var failed error
	taken := 0
	for _, chat := range c.Chats {
		if err := postTelegram(ctx, &c, chat, text); err != nil {
			failed = err
			p.log.Warn().Str("said", p.hide(err)).Msg("a Telegram chat does not take the message")
			continue
		}
		taken++
	}
	if taken > 0 { // the others would get it again and again, until the last has taken it
		return nil
	}
	return failed
}

func postTelegram(ctx context.Context, c *telegram.Config, chat, text string) error {
	chat, thread, _ := strings.Cut(chat, ":")
	m := map[string]any{
		"chat_id": chat, "text": text, "disable_notification": !c.Notification, "link_preview_options": map[string]bool{"is_disabled": !c.Preview},
	}
	if n, err := strconv.Atoi(thread); err == nil {
		m["message_thread_id"] = n
	}
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, telegramURL+"/bot"+c.Token+"/sendMessage", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL
		}
		return err
	}
	defer resp.Body.Close()
	return judgeTelegram(resp)
}

func judgeTelegram(resp *http.Response) error {
	var answer struct {
		OK          bool
		Description string
		Parameters  struct {
			RetryAfter int `json:"retry_after"`
		}
	}
	bad := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer)
	switch {
	case bad != nil:
		return fmt.Errorf("it answered %s, and nothing that Telegram would say", resp.Status)
	case answer.OK:
		return nil
	}
	err := fmt.Errorf("it answered %s: %s", resp.Status, answer.Description)
	if resp.StatusCode == http.StatusTooManyRequests {
		return &notify.RetryError{After: time.Duration(answer.Parameters.RetryAfter) * time.Second, Err: err}
	}
	return err // a wrong token or chat is mended by people
}
