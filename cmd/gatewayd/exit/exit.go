// Package exit gives an error the code with which the command ends: 2 for a wrong
// config or command line, 1 for anything else.
package exit

import (
	"errors"
	"fmt"
)

// coded is an error with an exit code of its own; 2 is a wrong config or command
// line, 1 anything else.
type coded struct {
	error
	code int
}

func (e coded) Unwrap() error { return e.error }

// Usage is an error in what was typed.
func Usage(format string, args ...any) error { return coded{fmt.Errorf(format, args...), 2} }

// Marked tells errors of running a command (exit code 1) from those of a command
// line that cobra refuses (exit code 2).
func Marked(err error) error {
	if err == nil || Coded(err) {
		return err
	}
	return coded{err, 1}
}

// Coded says whether an error has a code of its own.
func Coded(err error) bool {
	var e coded
	return errors.As(err, &e)
}

// Code is the code with which the command ends that has failed by err.
func Code(err error) int {
	var e coded
	if errors.As(err, &e) {
		return e.code
	}
	return 2
}
