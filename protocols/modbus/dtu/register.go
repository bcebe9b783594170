package dtu

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// pause is the silence that ends a packet.
	pause = 200 * time.Millisecond
	// longest is the maximum size of a registration in bytes, including its prefix.
	longest = 256
)

// ask determines the owner of a connection and returns the packet it has sent. If claim is nil, why
// says why.
func (l *Listener) ask(c *call) (claim *Claim, packet []byte, why string) {
	if claim := l.registry.byAddress(c.at.Addr(), time.Now()); claim != nil {
		packet, _ := receive(c.TCPConn, c.since.Add(pause)) // it may send a registration nevertheless
		return claim, packet, ""
	}
	packet, err := receive(c.TCPConn, c.since.Add(l.cfg.Within))
	switch {
	case err == nil:
	case len(packet) > longest:
		return nil, packet[:longest], "the first packet is not a registration"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, packet, fmt.Sprintf("no registration within %s", l.cfg.Within)
	case errors.Is(err, io.EOF):
		return nil, packet, "the DTU disconnected without registration"
	default:
		return nil, packet, "the connection failed before a registration: " + err.Error()
	}
	id, ok := l.identity(packet)
	if !ok {
		return nil, packet, l.unlike()
	}
	claim, why = l.registry.byID(string(id), c.at.Addr(), time.Now())
	if short := trim(id); claim == nil && len(short) < len(id) && len(short) > 0 {
		claim, why = l.registry.byID(string(short), c.at.Addr(), time.Now())
	}
	return claim, packet, why
}

// receive reads a packet: all bytes until a pause. It returns the bytes read even with an error.
func receive(c interface {
	io.Reader
	SetReadDeadline(time.Time) error
}, limit time.Time) ([]byte, error) {
	var b [longest + 1]byte
	n, until := 0, limit
	for n <= longest {
		if err := c.SetReadDeadline(until); err != nil {
			return b[:n], err
		}
		m, err := c.Read(b[n:])
		n += m
		if errors.Is(err, os.ErrDeadlineExceeded) && n > 0 && until.Before(limit) {
			return b[:n], nil
		}
		if err != nil {
			return b[:n], err
		}
		if until = time.Now().Add(pause); until.After(limit) {
			until = limit
		}
	}
	return b[:n], errors.New("too long")
}

// identity extracts the registration from its packet.
func (l *Listener) identity(packet []byte) (id []byte, ok bool) {
	id, ok = bytes.CutPrefix(packet, l.cfg.Prefix)
	switch {
	case !ok:
		return nil, false
	case l.cfg.Length > 0 && len(id) < l.cfg.Length:
		return nil, false
	case l.cfg.Length > 0:
		return id[:l.cfg.Length], true // a heartbeat may follow immediately
	}
	return id, len(id) > 0
}

func (l *Listener) unlike() string {
	why := "the first packet is not a registration"
	if len(l.cfg.Prefix) > 0 {
		why += ", which begins with " + Show(l.cfg.Prefix)
	}
	if l.cfg.Length > 0 {
		why += fmt.Sprintf(" and has %d bytes", l.cfg.Length)
	}
	return why
}

// trim removes the line endings that modems send.
func trim(packet []byte) []byte { return bytes.TrimRight(packet, "\r\n\x00") }
