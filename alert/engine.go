package alert

import (
	"time"

	"faultline/probe"
)

// Engine judges failure domains. One goroutine owns it.
type Engine struct{}

// New starts an engine on a world, with what an earlier one saved.
func New(now time.Time, p Policy, w World, saved Saved) *Engine { return &Engine{} }

// Observe takes one result. It is O(1) and allocates nothing when all is well.
func (e *Engine) Observe(now time.Time, r *probe.Result) {}

// Advance scans what Observe touched and appends the decisions to out.
func (e *Engine) Advance(now time.Time, out *Effects) {}

// Next is when Advance wants to be called; zero = not before the next Observe.
func (e *Engine) Next() time.Time { return time.Time{} }

// SetWorld changes what is watched; what is known of those that stay is kept.
func (e *Engine) SetWorld(now time.Time, w World) {}

// View fills v anew.
func (e *Engine) View(now time.Time, v *View) {}

// Dirty yields the learned records that changed since the last call.
func (e *Engine) Dirty(yield func(key string, b []byte)) {}
