package record

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"container/heap"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Bounds of what is read.
const (
	maxLine    = 1 << 20
	readAhead  = 1 << 16  // lines that are held to be put in order
	zstdMemory = 64 << 20 // a file may ask for
)

// Reader reads the lines of several files in the order of Recv, as far as these are out of order by no more than 65,536 lines.
type Reader struct {
	later  []source // files not begun, by their first line
	open   []source
	ahead  entries
	newest time.Time
	order  uint64

	late     int
	warnings []string
}

// source is one file.
type source struct {
	name  string
	lines lineReader
	close func() error
	first Entry
}

// lineReader gives one line after the other; io.EOF at the end.
type lineReader interface {
	next() (Entry, error)
}

// Open begins to read files. Their ends tell how they are compressed and formed: .zst or .gz, before that .csv or anything.
func Open(names ...string) (*Reader, error) {
	r := &Reader{}
	for _, name := range names {
		s, err := openSource(name)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		s.first, err = s.lines.next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			r.warnings = append(r.warnings, name+" holds no whole result")
			_ = s.close()
			continue
		}
		if err != nil {
			return nil, errors.Join(err, s.close(), r.Close())
		}
		r.later = append(r.later, s)
	}
	slices.SortStableFunc(r.later, func(a, b source) int { return a.first.Recv.Compare(b.first.Recv) })
	return r, nil
}

// Close ends the reading.
func (r *Reader) Close() error {
	var all error
	for _, s := range slices.Concat(r.open, r.later) {
		all = errors.Join(all, s.close())
	}
	r.open, r.later = nil, nil
	return all
}

// Warnings say what is odd about the files, as far as they were read.
func (r *Reader) Warnings() []string {
	out := slices.Clone(r.warnings)
	if r.late > 0 {
		out = append(out, fmt.Sprintf("%d lines came more than %d lines too late and were left out: sort the files by recv, or at", r.late, readAhead))
	}
	return out
}

// Next gives the next entry; io.EOF at the end.
func (r *Reader) Next() (Entry, error) {
	if err := r.fill(); err != nil {
		return Entry{}, err
	}
	if len(r.ahead) == 0 {
		return Entry{}, io.EOF
	}
	e := heap.Pop(&r.ahead).(ordered).Entry
	r.newest = e.Recv
	return e, nil
}

// Ahead yields what was read and not given yet, in no order.
func (r *Reader) Ahead(yield func(*Entry) bool) {
	for i := range r.ahead {
		if !yield(&r.ahead[i].Entry) {
			return
		}
	}
}

// fill reads ahead.
func (r *Reader) fill() error {
	for len(r.ahead) < readAhead {
		s := r.behind()
		if s < 0 {
			return nil
		}
		src := &r.open[s]
		r.keep(src.first)
		next, err := src.lines.next()
		switch {
		case errors.Is(err, io.EOF):
			err := src.close()
			r.open = slices.Delete(r.open, s, s+1)
			if err != nil {
				return err
			}
		case errors.Is(err, io.ErrUnexpectedEOF):
			r.warnings = append(r.warnings, fmt.Sprintf("%s ends in the middle of a line: what is before that is used", src.name))
			_ = src.close()
			r.open = slices.Delete(r.open, s, s+1)
		case err != nil:
			return err
		default:
			src.first = next
		}
	}
	return nil
}

// behind is the open file whose next line is the earliest; files that begin before it are begun. -1 = all are read.
func (r *Reader) behind() int {
	least := -1
	for i := range r.open {
		if least < 0 || r.open[i].first.Recv.Before(r.open[least].first.Recv) {
			least = i
		}
	}
	if len(r.later) > 0 && (least < 0 || !r.open[least].first.Recv.Before(r.later[0].first.Recv)) {
		r.open = append(r.open, r.later[0])
		r.later = r.later[1:]
		return len(r.open) - 1
	}
	return least
}

func (r *Reader) keep(e Entry) {
	if e.Recv.Before(r.newest) {
		r.late++
		return
	}
	r.order++
	heap.Push(&r.ahead, ordered{e, r.order})
}

type ordered struct {
	Entry
	order uint64
}

type entries []ordered

func (h entries) Len() int      { return len(h) }
func (h entries) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h entries) Less(i, j int) bool {
	if h[i].Recv.Equal(h[j].Recv) {
		return h[i].order < h[j].order
	}
	return h[i].Recv.Before(h[j].Recv)
}
func (h *entries) Push(x any) { *h = append(*h, x.(ordered)) }
func (h *entries) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func openSource(name string) (source, error) {
	f, err := os.Open(name)
	if err != nil {
		return source{}, fmt.Errorf("opening a recording: %w", err)
	}
	s := source{name: name, close: f.Close}
	var in io.Reader = bufio.NewReaderSize(f, 1<<16)
	plain := name
	switch {
	case strings.HasSuffix(name, ".zst"):
		zip, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(zstdMemory))
		if err != nil {
			return source{}, errors.Join(fmt.Errorf("reading %s: %w", name, err), f.Close())
		}
		in, plain = zip, strings.TrimSuffix(name, ".zst")
		s.close = func() error { zip.Close(); return f.Close() }
	case strings.HasSuffix(name, ".gz"):
		zip, err := gzip.NewReader(in)
		if err != nil {
			return source{}, errors.Join(fmt.Errorf("reading %s: %w", name, err), f.Close())
		}
		in, plain = zip, strings.TrimSuffix(name, ".gz")
	}
	if strings.HasSuffix(plain, ".csv") {
		s.lines = &csvLines{name: name, in: csv.NewReader(in)}
	} else {
		s.lines = &jsonLines{name: name, in: bufio.NewReaderSize(in, maxLine)}
	}
	return s, nil
}

// jsonLines reads JSON lines.
type jsonLines struct {
	name string
	in   *bufio.Reader
	n    int
}

func (l *jsonLines) next() (Entry, error) {
	for {
		line, err := l.in.ReadSlice('\n')
		l.n++
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return Entry{}, fmt.Errorf("%s:%d: the line is longer than %d KiB", l.name, l.n, maxLine>>10)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if len(bytes.TrimSpace(line)) == 0 && errors.Is(err, io.EOF) {
				return Entry{}, io.EOF
			}
			e, bad := parseLine(line)
			if bad != nil { // it was being written when the writer ended
				return Entry{}, io.ErrUnexpectedEOF
			}
			return e, nil
		case err != nil:
			return Entry{}, fmt.Errorf("reading %s: %w", l.name, err)
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		e, err := parseLine(line)
		if err != nil {
			return e, fmt.Errorf("%s:%d: %w", l.name, l.n, err)
		}
		return e, nil
	}
}

// csvLines reads CSV with a header that names the fields of a JSON line. What lies deeper there is ms, operator and issuer
// here; labels are written a=b;c=d.
type csvLines struct {
	name   string
	in     *csv.Reader
	header []string
}

var csvNeeded = []string{"site", "vantage", "at", "ok", "class", "fault", "cdn"}

func (l *csvLines) next() (Entry, error) {
	if l.header == nil {
		header, err := l.in.Read()
		if err != nil {
			return Entry{}, l.failed(err)
		}
		l.header = slices.Clone(header)
		for _, name := range csvNeeded {
			if !slices.Contains(l.header, name) {
				return Entry{}, fmt.Errorf("%s: its first line names no column %q; needed are %s", l.name, name, strings.Join(csvNeeded, ", "))
			}
		}
		l.in.ReuseRecord = true
	}
	record, err := l.in.Read()
	if err != nil {
		return Entry{}, l.failed(err)
	}
	row, _ := l.in.FieldPos(0)
	m := map[string]any{}
	for i, v := range record {
		if err := csvField(m, l.header[i], v); err != nil {
			return Entry{}, fmt.Errorf("%s:%d: %s: %w", l.name, row, l.header[i], err)
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		return Entry{}, fmt.Errorf("%s:%d: %w", l.name, row, err)
	}
	e, err := parseLine(text)
	if err != nil {
		return e, fmt.Errorf("%s:%d: %w", l.name, row, err)
	}
	return e, nil
}

func (l *csvLines) failed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return fmt.Errorf("reading %s: %w", l.name, err)
}

// csvField enters a field into what will be a JSON line.
func csvField(m map[string]any, name, v string) error {
	if v == "" && name != "cdn" && name != "fault" {
		return nil
	}
	switch name {
	case "ok", "pending", "sweep", "anchor", "owner_fixed":
		b, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("%q: true or false", v)
		}
		m[name] = b
	case "status", "seq", "attempt":
		n, err := strconv.ParseUint(v, 10, 63)
		if err != nil {
			return fmt.Errorf("%q: a number", v)
		}
		m[name] = n
	case "interval_s", "timeout_s", "ms":
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return fmt.Errorf("%q: a number", v)
		}
		m[name] = any(n)
		if name == "ms" {
			m[name] = map[string]any{"total": n}
		}
	case "operator":
		m["dns"] = map[string]any{"operator": v}
	case "issuer":
		m["tls"] = map[string]any{"issuer": v}
	case "labels":
		labels := map[string]string{}
		for pair := range strings.SplitSeq(v, ";") {
			k, val, ok := strings.Cut(pair, "=")
			if !ok {
				return fmt.Errorf("%q: labels are written a=b;c=d", v)
			}
			labels[strings.TrimSpace(k)] = strings.TrimSpace(val)
		}
		m[name] = labels
	case "candidates":
		m[name] = strings.Split(v, ";")
	default:
		m[name] = v
	}
	return nil
}
