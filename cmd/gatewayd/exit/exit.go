// Package exit attaches exit codes to errors: 2 for a wrong config or command line, 1 for anything
// else.
package exit

import (
	"errors"
	"fmt"
)

// coded is an error with an exit code.
type coded struct {
	error
	code int
}

func (e coded) Unwrap() error { return e.error }

// Usage returns an error in the command line or the config: exit code 2.
func Usage(format string, args ...any) error { return coded{fmt.Errorf(format, args...), 2} }

// Marked gives exit code 1 to an error of a command that ran, unless it has a code already. It sets
// such errors apart from those of a command line that cobra refuses, which have no code.
func Marked(err error) error {
	if err == nil || Coded(err) {
		return err
	}
	return coded{err, 1}
}

// Coded reports whether an error has an exit code attached.
func Coded(err error) bool {
	var e coded
	return errors.As(err, &e)
}

// Code returns the exit code for err. An error without a code is a command line that cobra refused:
// 2.
func Code(err error) int {
	var e coded
	if errors.As(err, &e) {
		return e.code
	}
	return 2
}
