//go:build !linux

package probe

import "fmt"

// bindToDevice cannot be had here.
func bindToDevice(_ int, device string) error {
	return &localError{fmt.Errorf("binding to the interface %q: this system cannot; use source instead", device)}
}
