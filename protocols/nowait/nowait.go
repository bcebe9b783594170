// Package nowait reads and writes non-blocking sockets, as all sockets of package net are. Package
// syscall announces each call to the runtime, which prepares for one that blocks: in a process that
// was idle it wakes its monitor, a thread that then checks every 20 µs for work. On one CPU that
// takes a fifth of a client's share of the time of a fast device's transaction. This package does
// not announce its calls.
//
// Use it for sockets only: a terminal or a file may block in any mode, and would then block the
// whole process.
package nowait

import "syscall"

// Read is read(2), repeated if a signal interrupts it. Errors are numbers of package syscall;
// syscall.EAGAIN if there is no data.
func Read(fd uintptr, b []byte) (n int, err error) {
	for {
		if n, err = read(fd, b); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// Write is write(2), repeated if a signal interrupts it. Errors are numbers of package syscall;
// syscall.EAGAIN if there is no room.
func Write(fd uintptr, b []byte) (n int, err error) {
	for {
		if n, err = write(fd, b); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
