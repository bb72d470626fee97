package notify

import "time"

// bucket bounds messages: perMinute in any minute's beginning at once, then one each time its share of a minute has passed.
type bucket struct {
	perMinute int       // 0 = no bound
	full      time.Time // when it is full again, if nothing more is taken
}

// take takes a token. When there is none it takes nothing and says when there will be one.
func (b *bucket) take(now time.Time) time.Time {
	if b.perMinute == 0 {
		return now
	}
	each := time.Minute / time.Duration(b.perMinute)
	if b.full.Before(now) {
		b.full = now
	}
	if at := b.full.Add(each - time.Minute); at.After(now) {
		return at
	}
	b.full = b.full.Add(each)
	return now
}
