package config

import (
	"errors"
	"io/fs"
	"os/exec"
	"strings"
)

// Exec is what a channel of that kind needs.
type Exec struct {
	Command []string // a path, or a name that was found, and arguments
}

func (r *reader) exec(t *table) *Exec {
	x := &Exec{t.strs("command", "[]")}
	if len(x.Command) == 0 {
		r.problem(t.path, "it has no command; write command = [\"/path/of/program\", \"argument\"]")
		return x
	}
	name := x.Command[0]
	if strings.Contains(name, "/") {
		name = r.path(name)
	}
	path, err := exec.LookPath(name)
	switch {
	case errors.Is(err, fs.ErrPermission):
		t.problem("command", "%s is not executable, for this user at least; chmod +x would be right, and a path that he may enter", clip(name))
	case err != nil:
		t.problem("command", "%s is not there; write the path of a program, each argument as a string of its own", clip(name))
	default:
		x.Command[0] = path
	}
	return x
}
