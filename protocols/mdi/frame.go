package mdi

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDamaged = errors.New("a damaged message")

// Overhead is the number of octets per message in addition to its content.
const Overhead = 6

// frame appends a message in the form used on a stream.
func frame(out, message []byte) []byte {
	at := len(out)
	out = binary.BigEndian.AppendUint16(out, uint16(len(message)))
	out = append(out, message...)
	return binary.BigEndian.AppendUint32(out, crc32.Checksum(out[at:], castagnoli))
}

// unframe reads a message.
func unframe(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	b := make([]byte, n+4)
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	sum := crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, b[:n])
	if n == 0 || sum != binary.BigEndian.Uint32(b[n:]) {
		return nil, errDamaged
	}
	return b[:n], nil
}
