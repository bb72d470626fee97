package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Exec is the channel that runs a command for each message, with the webhook's JSON document on its standard input and
// these variables:
//
//	FAULTLINE_EVENT, FAULTLINE_KEY, FAULTLINE_SEVERITY, FAULTLINE_TITLE
//
// Of the daemon's own environment it has PATH, HOME and LANG. Exit status 0 means that the message was taken, 65
// (EX_DATAERR) that it never will be; any other, and an end by a signal, that it is to be tried again. So the same
// document can come twice: of one key and incident ID, a higher rev is newer.
//
// At its deadline the command is killed, with all that it started in its process group. What goes on beyond the end of
// the command itself, in the background, is left alone; what it says after that is not waited for.
type Exec struct{ command []string }

const (
	exDataErr  = 65          // of sysexits.h: the input was wrong, and will be
	pipesStay  = time.Second // for which output is still read after the command's end
	maxExecOut = 4 << 10
)

// NewExec makes a channel of a command and its arguments.
func NewExec(command []string) (*Exec, error) {
	if len(command) == 0 {
		return nil, errors.New("there is no command")
	}
	return &Exec{command}, nil
}

// Folds is false: who knows what the command does.
func (x *Exec) Folds() bool { return false }

// Deliver runs the command.
func (x *Exec) Deliver(ctx context.Context, m Message) error {
	input, err := json.Marshal(m.Document())
	if err != nil {
		return Permanent(fmt.Errorf("encoding message: %w", err))
	}
	var said tail
	cmd := exec.CommandContext(ctx, x.command[0], x.command[1:]...)
	cmd.Env = environment(&m)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = pipesStay
	return x.judge(ctx, cmd.Run(), said.String())
}

func killGroup(leader int) error {
	err := syscall.Kill(-leader, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func (x *Exec) judge(ctx context.Context, err error, said string) error {
	var exit *exec.ExitError
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay): // it ended well, and something that it left behind keeps its output open
		return nil
	case ctx.Err() != nil:
		err = errors.New("it was killed, as it took too long")
	case errors.As(err, &exit):
		err = fmt.Errorf("it ended with %v", exit.ProcessState)
	}
	if said != "" {
		said = fmt.Sprintf(", and said %q", said)
	}
	err = fmt.Errorf("running %s: %w%s", x.command[0], err, said)
	if exit != nil && exit.ExitCode() == exDataErr {
		return Permanent(err)
	}
	return err
}

func environment(m *Message) []string {
	var out []string
	for _, name := range []string{"PATH", "HOME", "LANG"} {
		if v, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+v)
		}
	}
	for _, v := range [][2]string{
		{"EVENT", string(m.Event())}, {"KEY", m.Key()}, {"SEVERITY", string(m.Severity())}, {"TITLE", m.Title()},
	} {
		out = append(out, "FAULTLINE_"+v[0]+"="+strings.ReplaceAll(v[1], "\x00", "")) // which no variable can hold
	}
	return out
}

// tail keeps the end of what is written to it: there a command says why it failed.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if len(t.b) > maxExecOut {
		t.b = append(t.b[:0], t.b[len(t.b)-maxExecOut:]...)
	}
	return len(b), nil
}

// String is at most as long as an error can be, on one line.
func (t *tail) String() string {
	r := []rune(strings.Join(strings.Fields(strings.ToValidUTF8(string(t.b), "·")), " "))
	if len(r) > maxErrorLen {
		return "…" + string(r[len(r)-maxErrorLen+1:])
	}
	return string(r)
}
