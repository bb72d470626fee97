package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const lockTimeout = time.Second

// DamagedError says that state was lost, and where what is left of it was put.
type DamagedError struct {
	Aside string // the file, or the bucket within the file, that now holds the damaged state
	Err   error  // what is wrong with it
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("state is damaged: %v; it is kept in %s, and faultline goes on without it: what was open before may be paged again", e.Err, e.Aside)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// Open opens the state file, and creates it, and its directory, where there is none. It waits up to a second for another
// process to let go of it. A file of an older schema is brought up to date; one of a newer schema is refused and left alone.
//
// A damaged file is moved aside, never deleted; single records that cannot be read are moved to a bucket of their own.
// Open then returns both a Store that can be used and a *DamagedError, which someone must be told of.
func Open(path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("creating state directory: %w", explain(path, err))
	}
	s, err := open(path)
	var bad *damage
	if !errors.As(err, &bad) {
		return s, err
	}
	aside, err := setAside(path, bad.file)
	if err != nil {
		return nil, fmt.Errorf("opening state: %w; moving it aside: %w", bad.err, explain(path, err))
	}
	s, err = open(path)
	if err != nil {
		return nil, fmt.Errorf("beginning anew after %w, kept in %s: %w", bad.err, aside, err)
	}
	return s, &DamagedError{Aside: aside, Err: fmt.Errorf("reading %s: %w", path, bad.err)}
}

// damage is why a file cannot be used, and which file that is.
type damage struct {
	file os.FileInfo
	err  error
}

func (d *damage) Error() string { return d.err.Error() }

// open makes one attempt. Its error is a *damage where the file is to be moved aside.
func open(path string) (*Store, error) {
	var file *os.File
	var info os.FileInfo // of file: a rename can give the path to another
	var created bool     // by this attempt
	var emptied bool     // it was there, with nothing in it; bbolt would silently begin anew
	opts := &bolt.Options{Timeout: lockTimeout, OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
		before, err := os.Stat(name)
		created = errors.Is(err, os.ErrNotExist)
		emptied = err == nil && before.Size() == 0
		if file, err = os.OpenFile(name, flag, mode); err != nil {
			return nil, err
		}
		info, err = file.Stat()
		return file, err
	}}
	s := &Store{path: path}
	err := guard(func() (err error) {
		s.db, err = bolt.Open(path, 0o600, opts)
		return err
	})
	switch {
	case err == nil:
	case file == nil || !unreadable(err):
		if created && !errors.Is(err, bolterrors.ErrTimeout) {
			os.Remove(path) // the next start would take it for one that has lost everything
		}
		return nil, fmt.Errorf("opening state: %w", explain(path, err))
	default:
		file.Close() // gives the lock free where bbolt panicked; otherwise it is closed already
		return nil, &damage{info, err}
	}
	err = s.prepare(file, emptied)
	if err == nil || errors.As(err, new(*DamagedError)) {
		return s, err
	}
	s.db.Close()
	if errors.Is(err, errDamaged) {
		return nil, &damage{info, err}
	}
	return nil, fmt.Errorf("opening state: %w", explain(path, err))
}

// unreadable tells what bbolt says of a bad file from what the system says of one that cannot be had.
func unreadable(err error) bool {
	return !errors.Is(err, bolterrors.ErrTimeout) && !errors.As(err, new(syscall.Errno))
}

// setAside renames the file at path, if it still is the damaged one, to a name that says what it is.
func setAside(path string, damaged os.FileInfo) (string, error) {
	now, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if damaged == nil || !os.SameFile(now, damaged) {
		return "", errors.New("another faultline has replaced it meanwhile")
	}
	base := path + ".damaged-" + time.Now().UTC().Format("20060102T150405Z")
	aside := base
	for n := 2; exists(aside); n++ {
		aside = fmt.Sprintf("%s-%d", base, n)
	}
	return aside, os.Rename(path, aside)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

var errDamaged = errors.New("the file is damaged")

// guard turns a panic of f, and a fault in bbolt's memory map (a page that the disk no longer gives), into an error.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	return f()
}
