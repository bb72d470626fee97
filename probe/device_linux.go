package probe

import (
	"fmt"
	"syscall"
)

// bindToDevice makes a socket go through a network interface, whatever the routes say (SO_BINDTODEVICE).
func bindToDevice(fd int, device string) error {
	if err := syscall.BindToDevice(fd, device); err != nil {
		return &localError{fmt.Errorf("binding to the interface %q: %w", device, err)}
	}
	return nil
}
