// Package chat brings messages to chats and push services by way of github.com/nicholas-fedor/shoutrrr, which knows some
// twenty-five of them by their URLs.
package chat

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"faultline/alert/notify"
)

// Chat is a channel to one service. Its URL is a secret, as it holds tokens: no error shows any part of it but the scheme.
//
// People see every message, repeats too. A service that limits the length of messages gets the beginning: the title, then
// as many whole lines as fit.
//
// The library has no deadlines of ours, and does not say whether a failure is final. So every failure is tried again. A
// send that does not end in time goes on by itself; until it ends no other begins, and should it succeed after all, the same
// message is not sent a second time. After a minute it is given up as stuck, and the next one begins; of the stuck ones there
// are 8 at most.
//
// A URL that names several chats, rooms or devices is better split into several channels: the library stops at the first
// of them that fails, and the next attempt begins with the first again. With Telegram it is enough that one has taken it.
type Chat struct {
	place *place
	send  func(ctx context.Context, p *place, title, text string) error

	mu    sync.Mutex // guards what follows
	now   *flight    // the send that is under way, or that ended when nobody waited for it any more; nil = none
	stuck int        // sends that were given up and have not ended
}

// The bounds of sends that do not end.
const (
	giveUp   = time.Minute
	maxStuck = 8
)

// flight is one send.
type flight struct {
	id    string
	since time.Time
	done  chan struct{} // closed when err is there
	err   error
}

// New makes a channel of a service's URL, which is looked at and not used.
// log is told of chats that do not take a message which others have taken.
func New(rawURL string, log zerolog.Logger) (*Chat, error) {
	p, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	p.log = log
	send := sendByLibrary
	if p.scheme == "telegram" {
		send = sendTelegram
	}
	return &Chat{place: p, send: send}, nil
}

// Check says what is wrong with a URL, without repeating it.
func Check(rawURL string) error {
	_, err := parse(rawURL)
	return err
}

// Folds is false: people see every message.
func (c *Chat) Folds() bool { return false }

// Deliver sends m.
func (c *Chat) Deliver(ctx context.Context, m notify.Message) error {
	id := string(m.Event()) + "/" + m.ID()
	title, text := c.place.limits.shape(m.Title(), m.Text())
	for {
		f := c.board(ctx, id, title, text)
		select {
		case <-ctx.Done():
			return fmt.Errorf("sending over %s: no answer in time, and the attempt cannot be stopped", c.place.scheme)
		case <-f.done:
		}
		c.leave(f)
		if f.id == id {
			return c.told(f.err)
		}
	}
}

// board gives the send that is under way, or begins one.
func (c *Chat) board(ctx context.Context, id, title, text string) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.now; f != nil && (f.id != id || !f.failed()) && !c.givenUp(f) {
		return f
	}
	f := &flight{id: id, since: time.Now(), done: make(chan struct{})}
	c.now = f
	go func() { // nobody can wait for it longer than ctx lasts: see Chat
		defer close(f.done)
		defer func() {
			if p := recover(); p != nil {
				f.err = fmt.Errorf("the library failed: %v", p)
			}
		}()
		f.err = c.send(context.WithoutCancel(ctx), c.place, title, text)
	}()
	return f
}

// givenUp gives a send up, if that is due, and tells whether it is.
func (c *Chat) givenUp(f *flight) bool {
	if time.Since(f.since) < giveUp || f.over() || c.stuck >= maxStuck {
		return false
	}
	c.stuck++
	go func() {
		<-f.done
		c.mu.Lock()
		c.stuck--
		c.mu.Unlock()
	}()
	return true
}

// failed tells whether the send is over, and in vain.
func (f *flight) failed() bool { return f.over() && f.err != nil }

func (f *flight) over() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// leave makes room for the next send.
func (c *Chat) leave(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == f {
		c.now = nil
	}
}

// told is an error as it can be shown, and retried.
func (c *Chat) told(err error) error {
	if err == nil {
		return nil
	}
	shown := fmt.Errorf("sending over %s: %s", c.place.scheme, c.place.hide(err))
	var retry *notify.RetryError
	if errors.As(err, &retry) {
		return &notify.RetryError{After: retry.After, Err: shown}
	}
	return shown
}
