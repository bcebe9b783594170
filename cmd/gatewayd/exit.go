package main

import (
	"errors"
	"fmt"
)

// marked tells errors of running a command (exit code 1) from those of a command
// line that cobra refuses (exit code 2).
func marked(err error) error {
	if err == nil || coded(err) {
		return err
	}
	return exit{err, 1}
}

// exit is an error with an exit code of its own; 2 is a wrong config or command
// line, 1 anything else.
type exit struct {
	error
	code int
}

func (e exit) Unwrap() error { return e.error }

// usage is an error in what was typed.
func usage(format string, args ...any) error { return exit{fmt.Errorf(format, args...), 2} }

// coded says whether an error has a code of its own.
func coded(err error) bool {
	var e exit
	return errors.As(err, &e)
}

// exitCode is the code with which the command ends that has failed by err.
func exitCode(err error) int {
	var e exit
	if errors.As(err, &e) {
		return e.code
	}
	return 2
}
