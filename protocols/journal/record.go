package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// magic is at the beginning of each file.
const magic = "gwjrnl1\n"

// record is one change; value nil removes the key. In the file it is its length without these four
// bytes (uint32), a CRC-32C of everything after that (uint32), 0 or 1 (a removal), the length of
// the key (uint16), key and value; little endian.
type record struct {
	key   string
	value []byte
}

const (
	recordHead = 4 + 4 + 1 + 2
	largest    = 64 << 20 // a longer record is invalid
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errShort = errors.New("the last record is cut off")
	errSum   = errors.New("a record is damaged")
)

func sizeOf(key string, value []byte) int { return recordHead + len(key) + len(value) }

func appendRecord(b []byte, r record) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(sizeOf(r.key, r.value)-4))
	b = append(b, 0, 0, 0, 0)
	if r.value == nil {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.key)))
	b = append(append(b, r.key...), r.value...)
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Checksum(b[start+8:], castagnoli))
	return b
}

// parse parses the record at the beginning of b and returns its length.
func parse(b []byte) (r record, n int, err error) {
	if len(b) < recordHead {
		return r, 0, errShort
	}
	size := binary.LittleEndian.Uint32(b)
	if size < recordHead-4 || size > largest {
		return r, 0, errSum
	}
	if n = int(size) + 4; n > len(b) {
		return r, 0, errShort
	}
	keyLen := int(binary.LittleEndian.Uint16(b[9:]))
	if crc32.Checksum(b[8:n], castagnoli) != binary.LittleEndian.Uint32(b[4:]) || recordHead+keyLen > n || b[8] > 1 {
		return r, 0, errSum
	}
	r.key = string(b[recordHead : recordHead+keyLen])
	if b[8] == 0 {
		r.value = append([]byte{}, b[recordHead+keyLen:n]...)
	}
	return r, n, nil
}
