package record

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"faultline/probe"
)

// Bounds of a recording.
const (
	linesAhead = 8192             // results that may wait to be written
	rotateSize = 256 << 20        // of a file before compression
	rotateAge  = time.Hour        // likewise
	flushEvery = time.Second      // what a crash may cost
	retryEvery = 10 * time.Second // after a file could not be written
	mostBytes  = 4 << 30          // of all files in the directory; the oldest go
)

// Writer writes results to files in a directory. It is safe for one goroutine at a time; what it cannot keep up with it drops
// and counts.
type Writer struct {
	dir     string
	onError func(error)
	most    int64 // bytes in the directory

	lines   chan line
	done    chan struct{}
	dropped atomic.Uint64

	file  *os.File
	zip   *zstd.Encoder
	size  int64 // written into it
	since time.Time
	retry time.Time // no file is opened before
	known map[string]*probe.Site
	buf   []byte
}

type line struct {
	recv   time.Time
	result probe.Result
	site   *probe.Site
}

// NewWriter begins a recording in dir, which is made if it is not there. onError is told, from the writer's own goroutine, of
// what keeps it from writing; it goes on trying.
func NewWriter(dir string, onError func(error)) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the recording: %w", err)
	}
	w := &Writer{dir: dir, onError: onError, most: mostBytes, lines: make(chan line, linesAhead), done: make(chan struct{})}
	if err := w.open(time.Now()); err != nil {
		return nil, err
	}
	go w.run()
	return w, nil
}

// Write records a result that the engine was told of at recv. It does not wait. site may be nil.
func (w *Writer) Write(recv time.Time, r *probe.Result, site *probe.Site) {
	select {
	case w.lines <- line{recv, *r, site}:
	default:
		w.dropped.Add(1)
	}
}

// Dropped is how many results were not written.
func (w *Writer) Dropped() uint64 { return w.dropped.Load() }

// Close writes what is waiting and ends the recording.
func (w *Writer) Close() error {
	close(w.lines)
	<-w.done
	return w.end()
}

func (w *Writer) run() {
	defer close(w.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case l, ok := <-w.lines:
			if !ok {
				return
			}
			w.write(&l)
		case now := <-tick.C:
			w.keepUp(now)
		}
	}
}

// write puts one line into the file.
func (w *Writer) write(l *line) {
	if w.zip == nil {
		w.dropped.Add(1)
		return
	}
	site := l.site
	if site != nil && w.known[site.Name] == site {
		site = nil
	}
	var err error
	if w.buf, err = AppendLine(w.buf[:0], l.recv, &l.result, site); err != nil || len(w.buf) >= maxLine {
		w.dropped.Add(1)
		return
	}
	w.buf = append(w.buf, '\n')
	if _, err := w.zip.Write(w.buf); err != nil {
		w.fail(err)
		return
	}
	if site != nil {
		w.known[site.Name] = site
	}
	w.size += int64(len(w.buf))
}

// keepUp flushes, and begins a new file when it is time.
func (w *Writer) keepUp(now time.Time) {
	switch {
	case w.zip == nil && now.Before(w.retry):
		return
	case w.zip != nil && w.size < rotateSize && now.Sub(w.since) < rotateAge:
		if err := w.zip.Flush(); err != nil {
			w.fail(err)
		}
		return
	case w.zip != nil:
		if err := w.end(); err != nil {
			w.onError(fmt.Errorf("ending a file of the recording: %w", err))
		}
	}
	if err := w.open(now); err != nil {
		w.fail(err)
		return
	}
	w.prune()
}

// fail gives the file up; another one is tried later.
func (w *Writer) fail(err error) {
	w.onError(fmt.Errorf("recording: %w; results are not recorded until it can be written again: free space and permissions of %s?", err, w.dir))
	_ = w.end()
	w.retry = time.Now().Add(retryEvery)
}

func (w *Writer) end() error {
	if w.zip == nil {
		return nil
	}
	err := w.zip.Close()
	if closeErr := w.file.Close(); err == nil {
		err = closeErr
	}
	w.zip, w.file = nil, nil
	return err
}

const (
	filePrefix = "results-"
	fileSuffix = ".jsonl.zst"
)

func (w *Writer) open(now time.Time) error {
	name := filepath.Join(w.dir, filePrefix+now.UTC().Format(fileTime)+fileSuffix)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("beginning a file of the recording: %w", err)
	}
	zip, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("beginning a file of the recording: %w", err)
	}
	w.file, w.zip, w.size, w.since, w.known = f, zip, 0, now, map[string]*probe.Site{}
	return nil
}

// prune removes the oldest files of recordings until the rest are within bounds. The present one stays.
func (w *Writer) prune() {
	names, err := filepath.Glob(filepath.Join(w.dir, filePrefix+"*"+fileSuffix))
	if err != nil {
		return
	}
	slices.Sort(names)
	var sum int64
	for i := len(names) - 1; i >= 0; i-- {
		st, err := os.Stat(names[i])
		if err != nil {
			continue
		}
		if sum += st.Size(); sum > w.most && i < len(names)-1 {
			if err := os.Remove(names[i]); err != nil {
				w.onError(fmt.Errorf("removing an old recording: %w", err))
			}
		}
	}
}

var _ io.Closer = (*Writer)(nil)
