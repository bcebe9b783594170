package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// readRegister is the request frame: unit 1, read one holding register at 0.
func readRegister() []byte { return []byte{0x01, 0x03, 0x00, 0x00, 0x00, 0x01, 0x84, 0x0a} }

// poll opens the port whenever it is not open and asks once per tick; it prints "opened NODE", and on change
// "answer N" or "lost: cause".
func poll(path string, tick <-chan time.Time) error {
	var port *os.File
	last := ""
	for range tick {
		said := ""
		if port == nil {
			opened, err := openPort(path)
			if err != nil {
				said = "lost: " + err.Error()
			} else {
				node, _ := filepath.EvalSymlinks(path)
				fmt.Println("opened", node)
			}
			port = opened
		}
		if port != nil {
			answer, err := ask(port)
			said = fmt.Sprintf("answer % x", answer)
			if err != nil {
				said = "lost: " + err.Error()
				port.Close()
				port = nil
			}
		}
		if said != last {
			fmt.Println(said)
		}
		last = said
	}
	return nil
}

func openPort(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	raw := unix.Termios{Cflag: unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B19200, Ispeed: unix.B19200, Ospeed: unix.B19200}
	raw.Cc[unix.VMIN] = 1
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &raw); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func ask(port *os.File) ([]byte, error) {
	if _, err := port.Write(readRegister()); err != nil {
		return nil, err
	}
	answer := make([]byte, 7)
	if err := port.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(port, answer); err != nil {
		return nil, err
	}
	if !bytes.Equal(answer[:3], []byte{0x01, 0x03, 0x02}) {
		return nil, fmt.Errorf("unexpected answer % x", answer)
	}
	return answer[3:5], nil
}
