package record

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const fileTime = "20060102T150405.000Z"

// Files gives the files of the recordings in dir that can hold results of the time from since to until, the oldest first.
func Files(dir string, since, until time.Time) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(dir, filePrefix+"*"+fileSuffix))
	if err != nil {
		return nil, fmt.Errorf("looking for recordings: %w", err)
	}
	slices.Sort(names)
	var out []string
	for _, name := range names {
		began, err := time.Parse(fileTime, strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), filePrefix), fileSuffix))
		switch {
		case err != nil || !began.Before(until):
		case !began.After(since): // those before it end where it begins
			out = append(out[:0], name)
		default:
			out = append(out, name)
		}
	}
	return out, nil
}
