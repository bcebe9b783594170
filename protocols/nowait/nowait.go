// Package nowait reads and writes sockets that never block, as all of package net are. Package syscall tells the runtime of each call,
// which gets ready for one that blocks: where the process was idle before it wakes its monitor for that, a thread that then looks each 20 µs
// what there is to do. On one CPU that is a fifth of a client's part in a fast device's transaction. Here the runtime is told nothing.
//
// It is for nothing but sockets: a terminal or a file may block whatever it was told, and with it the whole process.
package nowait

import "syscall"

// Read is read(2), begun again when a signal interrupts it. Errors are numbers of package syscall, syscall.EAGAIN where nothing has come.
func Read(fd uintptr, b []byte) (n int, err error) {
	for {
		if n, err = read(fd, b); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// Write is write(2), begun again when a signal interrupts it. Errors are numbers of package syscall, syscall.EAGAIN where there is no room.
func Write(fd uintptr, b []byte) (n int, err error) {
	for {
		if n, err = write(fd, b); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
