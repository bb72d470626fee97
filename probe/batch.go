package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// The compact form in which results travel from an agent to a hub, version 1. Numbers are varints as encoding/binary has
// them (of signed ones zigzag); text is a number in the batch's table of strings plus one, 0 = ""; a list is its length and
// its elements.
//
//	version (1 byte) | strings: count, then each with its length | base time (Unix ns) | results: count, then each with its length
//
// The fields of a result are in the order of batchWriter.result. New ones are appended to that order and need no other
// version: a reader skips what is left of a result, and what is missing is zero. Classes and the other closed lists travel
// by name, so that one that a newer agent knows is unknown, not another one.
const batchVersion = 1

// Bounds of a batch. What exceeds them is refused.
const (
	MaxBatch      = 500     // results
	MaxBatchBytes = 1 << 20 // of it as a whole

	maxBatchStrings = 20000
	maxBatchText    = 16 << 10 // of one string; longer ones are cut
	maxBatchList    = 1000
)

// AppendBatch appends the compact form of at most MaxBatch results to dst. What is longer than a batch's bounds is cut.
func AppendBatch(dst []byte, rs []Result) []byte {
	w := batchWriters.Get().(*batchWriter)
	defer batchWriters.Put(w)
	clear(w.number)
	w.strings, w.body, w.count = w.strings[:0], w.body[:0], 0
	base := int64(0)
	for i := range rs {
		if !rs[i].At.IsZero() {
			base = rs[i].At.UnixNano()
			break
		}
	}
	for i := range rs {
		w.one = w.result(w.one[:0], &rs[i], base)
		w.body = binary.AppendUvarint(w.body, uint64(len(w.one)))
		w.body = append(w.body, w.one...)
	}
	dst = append(dst, batchVersion)
	dst = binary.AppendUvarint(dst, uint64(w.count))
	dst = append(dst, w.strings...)
	dst = binary.AppendVarint(dst, base)
	dst = binary.AppendUvarint(dst, uint64(len(rs)))
	return append(dst, w.body...)
}

var batchWriters = sync.Pool{New: func() any { return &batchWriter{number: map[string]uint64{}} }}

type batchWriter struct {
	number  map[string]uint64 // of the strings, from 1
	strings []byte            // all, each behind its length
	count   int
	body    []byte
	one     []byte
}

// Bits of a result's flags.
const (
	batchPending = 1 << iota
	batchLearn
	batchTimed // it has a time
)

func (w *batchWriter) result(b []byte, r *Result, base int64) []byte {
	flags := uint64(0)
	if r.Pending {
		flags |= batchPending
	}
	if r.Learn {
		flags |= batchLearn
	}
	at := int64(0)
	if !r.At.IsZero() {
		flags |= batchTimed
		at = r.At.UnixNano() - base
	}
	b = w.texts(b, r.Site, r.URL, r.Vantage, r.Region, r.Family.String())
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendVarint(b, at)
	b = appendNumbers(b, r.Seq, r.Sweep)
	b = binary.AppendVarint(b, int64(r.Attempt))

	b = w.texts(b, r.Class.String(), r.Fault.String(), r.CDN, r.Why, r.Operator)
	b = w.list(b, r.CDNBy)
	b = appendList(b, r.Candidates, func(b []byte, f Fault) []byte { return w.text(b, f.String()) })
	b = binary.AppendVarint(b, int64(r.Status))
	b = w.texts(b, r.Final, r.Network, r.Proto)
	b = appendAddrPort(b, r.Addr)

	d := &r.DNS
	b = w.texts(b, d.Resolver, d.Rcode, d.Operator, d.Diagnosis.String())
	b = appendList(b, d.EDE, func(b []byte, n uint16) []byte { return binary.AppendUvarint(b, uint64(n)) })
	b = w.list(b, d.CNAME)
	b = appendList(b, d.Addrs, appendAddr)
	b = w.list(b, d.NS)
	b = appendList(b, d.Tried, func(b []byte, t ResolverTry) []byte { return w.texts(b, t.Resolver, t.Class.String()) })

	b = w.texts(b, r.TLS.Version, r.TLS.Issuer)
	b = appendTime(b, r.TLS.NotAfter)
	b = appendNumbers(b, r.TLS.Names)
	b = appendList(b, r.Addresses, func(b []byte, l AddressLook) []byte {
		b = w.texts(appendAddrPort(b, l.Addr), l.Class.String(), l.Fault.String())
		return binary.AppendVarint(b, int64(l.Total))
	})
	t := &r.Time
	for _, d := range [...]time.Duration{t.Lag, t.Resolve, t.Connect, t.TLS, t.TTFB, t.Total, r.RetryAfter} {
		b = binary.AppendVarint(b, int64(d))
	}
	return b
}

func (w *batchWriter) text(b []byte, s string) []byte {
	if s == "" {
		return append(b, 0)
	}
	n, known := w.number[s]
	if !known {
		w.count++
		n = uint64(w.count)
		w.number[s] = n
		short := s[:min(len(s), maxBatchText)]
		w.strings = binary.AppendUvarint(w.strings, uint64(len(short)))
		w.strings = append(w.strings, short...)
	}
	return binary.AppendUvarint(b, n)
}

func (w *batchWriter) texts(b []byte, list ...string) []byte {
	for _, s := range list {
		b = w.text(b, s)
	}
	return b
}

func (w *batchWriter) list(b []byte, list []string) []byte {
	return appendList(b, list, w.text)
}

func appendList[T any](b []byte, list []T, one func([]byte, T) []byte) []byte {
	list = list[:min(len(list), maxBatchList)]
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, x := range list {
		b = one(b, x)
	}
	return b
}

func appendNumbers(b []byte, list ...uint64) []byte {
	for _, n := range list {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// appendAddr appends an address without its zone, behind its length; 0 = none.
func appendAddr(b []byte, a netip.Addr) []byte {
	raw := a.WithZone("").AsSlice()
	return append(append(b, byte(len(raw))), raw...)
}

func appendAddrPort(b []byte, a netip.AddrPort) []byte {
	return binary.AppendUvarint(appendAddr(b, a.Addr()), uint64(a.Port()))
}

// appendTime appends a time in seconds; 0 = none.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	return binary.AppendVarint(b, t.Unix())
}

// ParseBatch reads a batch. The strings of its results share memory of their own, not data. An error says what is wrong
// with the batch as a whole: none of it is to be used then.
func ParseBatch(data []byte) ([]Result, error) {
	if len(data) > MaxBatchBytes {
		return nil, fmt.Errorf("a batch of %d bytes is larger than %d", len(data), MaxBatchBytes)
	}
	if len(data) == 0 {
		return nil, errors.New("the batch is empty")
	}
	if data[0] != batchVersion {
		return nil, fmt.Errorf("a batch of version %d cannot be read, only %d; run the same version of faultline on hub and agents", data[0], batchVersion)
	}
	c := &batchReader{b: data[1:]}
	c.strings = c.table()
	base := c.signed()
	count := c.length(MaxBatch)
	rs := make([]Result, 0, min(count, len(c.b)))
	for range count {
		n := c.unsigned()
		if n > uint64(len(c.b)) {
			c.fail("a result is cut off")
		}
		if c.err != nil {
			break
		}
		one := batchReader{b: c.b[:n], strings: c.strings, ends: true}
		c.b = c.b[n:]
		rs = append(rs, Result{})
		one.result(&rs[len(rs)-1], base)
		c.err = one.err
	}
	if c.err == nil && len(c.b) > 0 {
		c.fail("there is more behind its results")
	}
	if c.err != nil {
		return nil, fmt.Errorf("reading a batch: %w", c.err)
	}
	return rs, nil
}

// batchReader takes a batch apart. After the first error all that it gives is zero.
type batchReader struct {
	b       []byte
	strings []string
	ends    bool // what is missing at the end is zero, as an older writer does not know it
	err     error
}

func (c *batchReader) fail(why string) {
	if c.err == nil {
		c.err = errors.New(why)
	}
	c.b = nil
}

func (c *batchReader) over() bool { return c.err != nil || c.ends && len(c.b) == 0 }

func (c *batchReader) unsigned() uint64 {
	if c.over() {
		return 0
	}
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.fail("a number is cut off or too long")
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *batchReader) signed() int64 {
	if c.over() {
		return 0
	}
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail("a number is cut off or too long")
		return 0
	}
	c.b = c.b[n:]
	return v
}

// length reads how many follow; each takes a byte at least.
func (c *batchReader) length(most int) int {
	n := c.unsigned()
	if n > uint64(most) || n > uint64(len(c.b)) {
		c.fail("it promises more than it holds")
		return 0
	}
	return int(n)
}

func (c *batchReader) table() []string {
	n := c.length(maxBatchStrings)
	out := make([]string, 0, n)
	for range n {
		size := c.length(maxBatchText)
		if c.err != nil {
			return nil
		}
		out = append(out, strings.ToValidUTF8(string(c.b[:size]), "�"))
		c.b = c.b[size:]
	}
	return out
}

func (c *batchReader) text() string {
	n := c.unsigned()
	switch {
	case n == 0:
		return ""
	case n > uint64(len(c.strings)):
		c.fail("it names a string that it does not hold")
		return ""
	}
	return c.strings[n-1]
}

func readList[T any](c *batchReader, one func() T) []T {
	n := c.length(maxBatchList)
	if n == 0 {
		return nil
	}
	out := make([]T, 0, n)
	for range n {
		if out = append(out, one()); c.err != nil {
			return nil
		}
	}
	return out
}

func (c *batchReader) number(most uint64) uint64 {
	n := c.unsigned()
	if n > most {
		c.fail("a number is too large")
		return 0
	}
	return n
}

func (c *batchReader) small(most int64) int {
	n := c.signed()
	if n < 0 || n > most {
		c.fail("a number is out of its range")
		return 0
	}
	return int(n)
}

// maxBatchLength bounds a length of time in a result.
const maxBatchLength = 24 * time.Hour

func (c *batchReader) duration() time.Duration {
	d := time.Duration(c.signed())
	if d < -maxBatchLength || d > maxBatchLength {
		c.fail("a length of time is out of its range")
		return 0
	}
	return d
}

func (c *batchReader) addr() netip.Addr {
	n := c.length(16)
	if n == 0 {
		return netip.Addr{}
	}
	a, ok := netip.AddrFromSlice(c.b[:n])
	if !ok {
		c.fail("an address has a length that there is not")
		return netip.Addr{}
	}
	c.b = c.b[n:]
	return a
}

func (c *batchReader) addrPort() netip.AddrPort {
	a, port := c.addr(), uint16(c.number(math.MaxUint16))
	if !a.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a, port)
}

// maxBatchTime bounds a time: the year 9999, the last that JSON can show.
const maxBatchTime = 253402300799

func (c *batchReader) time() time.Time {
	s := c.signed()
	switch {
	case s == 0:
		return time.Time{}
	case s < 0 || s > maxBatchTime:
		c.fail("a time is out of its range")
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}

func (c *batchReader) class() Class { return ParseClass(c.text()) }

// fault is none where a newer agent knows more of them.
func (c *batchReader) fault() Fault {
	f, err := ParseFault(c.text())
	if err != nil {
		return FaultNone
	}
	return f
}

func (c *batchReader) result(r *Result, base int64) {
	r.Site, r.URL, r.Vantage, r.Region = c.text(), c.text(), c.text(), c.text()
	r.Family, _ = parseFamily(c.text())
	flags, at := c.unsigned(), c.signed()
	r.Pending, r.Learn = flags&batchPending != 0, flags&batchLearn != 0
	if flags&batchTimed != 0 {
		r.At = time.Unix(0, base+at).UTC()
	}
	r.Seq, r.Sweep, r.Attempt = c.unsigned(), c.unsigned(), c.small(100)

	r.Class, r.Fault, r.CDN, r.Why, r.Operator = c.class(), c.fault(), c.text(), c.text(), c.text()
	r.CDNBy, r.Candidates = readList(c, c.text), readList(c, c.fault)
	r.Status = c.small(999)
	r.Final, r.Network, r.Proto = c.text(), c.text(), c.text()
	r.Addr = c.addrPort()

	d := &r.DNS
	d.Resolver, d.Rcode, d.Operator = c.text(), c.text(), c.text()
	if i := slices.Index(diagnosisNames[:], c.text()); i > 0 { // one that a newer agent makes is none
		d.Diagnosis = Diagnosis(i)
	}
	d.EDE = readList(c, func() uint16 { return uint16(c.number(math.MaxUint16)) })
	d.CNAME, d.Addrs, d.NS = readList(c, c.text), readList(c, c.addr), readList(c, c.text)
	d.Tried = readList(c, func() ResolverTry { return ResolverTry{c.text(), c.class()} })

	r.TLS.Version, r.TLS.Issuer = c.text(), c.text()
	r.TLS.NotAfter, r.TLS.Names = c.time(), c.unsigned()
	r.Addresses = readList(c, func() AddressLook { return AddressLook{c.addrPort(), c.class(), c.fault(), c.duration()} })
	t := &r.Time
	for _, to := range [...]*time.Duration{&t.Lag, &t.Resolve, &t.Connect, &t.TLS, &t.TTFB, &t.Total, &r.RetryAfter} {
		*to = c.duration()
	}
}
