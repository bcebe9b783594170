package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ReadPassword reads one line. On a terminal it prompts, twice for a fresh password, with echo off.
func ReadPassword(ctx context.Context, in io.Reader, say io.Writer, fresh bool) (password string, err error) {
	lines := bufio.NewReader(in)
	if !Is(in) {
		return passwordLine(lines)
	}
	defer hidden(in.(*os.File))()
	done := make(chan struct{})
	go func() { // a read from a terminal cannot be cancelled
		defer close(done)
		_, _ = fmt.Fprint(say, "password: ")
		if password, err = passwordLine(lines); err != nil || !fresh {
			return
		}
		_, _ = fmt.Fprint(say, "\nrepeat the password: ")
		var again string
		if again, err = passwordLine(lines); err == nil && again != password {
			err = errors.New("the passwords differ")
		}
	}()
	select {
	case <-done:
		_, _ = fmt.Fprintln(say)
		return password, err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// minPassword is the minimal length of a password (NIST SP 800-63B §5.1.1.1).
const minPassword = 8

func passwordLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if line = strings.TrimRight(line, "\r\n"); line == "" && err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if len(line) < minPassword {
		return "", fmt.Errorf("a password must have at least %d characters", minPassword)
	}
	return line, nil
}

// hidden turns the echo of a terminal off until the function it returns is called.
func hidden(f *os.File) (shown func()) {
	fd := int(f.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {}
	}
	quiet := *was
	quiet.Lflag &^= unix.ECHO
	_ = unix.IoctlSetTermios(fd, unix.TCSETS, &quiet)
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, was) }
}
