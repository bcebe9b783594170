package record

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"gatewayd/protocols/modbus"
)

// Reader reads a recording.
type Reader struct {
	s      *bufio.Scanner
	number int
	header Header
	first  string // the line after the header
	last   time.Duration
}

// NewReader returns a Reader for a recording. It reads the header.
func NewReader(r io.Reader) (*Reader, error) {
	d := &Reader{s: bufio.NewScanner(r)}
	d.s.Buffer(nil, longest)
	if line, err := d.next(); err != nil || line != magic+strconv.Itoa(version) {
		if err == nil || err == io.EOF {
			err = fmt.Errorf("line %d: a recording must begin with %q", max(d.number, 1), magic+strconv.Itoa(version))
		}
		return nil, err
	}
	framed := false
	for {
		line, err := d.next()
		if err != nil && err != io.EOF {
			return nil, err
		}
		if err == io.EOF || line[0] < 'a' || line[0] > 'z' {
			d.first = line
			break
		}
		word, value, _ := strings.Cut(line, " ")
		if err := d.take(word, strings.TrimSpace(value)); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", d.number, word, err)
		}
		framed = framed || word == "framing"
	}
	if !framed {
		return nil, fmt.Errorf("line %d: the framing is missing before the first frame", d.number)
	}
	return d, nil
}

// Header returns the header of the recording.
func (d *Reader) Header() Header { return d.header }

// take parses one line of the header.
func (d *Reader) take(word, value string) (err error) {
	h := &d.header
	switch word {
	case "began":
		h.Began, err = time.Parse(time.RFC3339Nano, value)
	case "link":
		h.Link = value
	case "framing":
		h.Framing, err = modbus.ParseFraming(value)
	case "transport":
		h.Transport = value
	case "baud":
		h.Baud, err = positive(value)
	case "bits":
		h.Bits, err = positive(value)
	}
	return err
}

func positive(text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%q is not a positive number", text)
	}
	return int(n), nil
}

// next returns the next line that is not empty or a comment; io.EOF: there is none.
func (d *Reader) next() (string, error) {
	for d.s.Scan() {
		d.number++
		line := strings.TrimSpace(d.s.Text())
		if line != "" && line[0] != '#' {
			return line, nil
		}
	}
	if err := d.s.Err(); err != nil {
		return "", fmt.Errorf("line %d: %w", d.number+1, err)
	}
	return "", io.EOF
}

// Next returns the next entry, whose Bytes belong to the caller, or io.EOF after the last one.
func (d *Reader) Next() (Entry, error) {
	line := d.first
	if d.first = ""; line == "" {
		var err error
		if line, err = d.next(); err != nil {
			return Entry{}, err
		}
	}
	e, err := parse(line)
	if err == nil && e.At < d.last {
		err = fmt.Errorf("time %v is before that of the previous entry", e.At)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("line %d: %w", d.number, err)
	}
	d.last = e.At
	return e, nil
}

func parse(line string) (e Entry, err error) {
	line, note, _ := strings.Cut(line, " #")
	e.Note = strings.TrimSpace(note)
	f := strings.Fields(line)
	if len(f) != 3 && len(f) != 4 {
		return e, fmt.Errorf("%q is not an entry of time, direction, bytes and an optional mark", line)
	}
	if e.At, err = seconds(f[0]); err != nil {
		return e, err
	}
	if e.Direction, err = direction(f[1]); err != nil {
		return e, err
	}
	if f[2] != "-" {
		if e.Bytes, err = hex.DecodeString(f[2]); err != nil {
			return e, fmt.Errorf("bytes: %w", err)
		}
	}
	if len(f) == 4 {
		e.Mark, err = modbus.ParseMark(f[3])
	}
	return e, err
}

func direction(sign string) (modbus.Direction, error) {
	for d, s := range directions {
		if s == sign {
			return modbus.Direction(d), nil
		}
	}
	return 0, fmt.Errorf("%q is not a direction: want > for sent, < for received or ! for neither", sign)
}

// seconds parses a time like 12.345678.
func seconds(text string) (time.Duration, error) {
	whole, part, _ := strings.Cut(text, ".")
	s, err := strconv.ParseUint(whole, 10, 63)
	if err == nil && s < 1<<33 && len(part) <= 9 {
		var ns uint64
		if ns, err = strconv.ParseUint(part+"000000000"[len(part):], 10, 63); err == nil {
			return time.Duration(s)*time.Second + time.Duration(ns), nil
		}
	}
	return 0, fmt.Errorf("%q is not a time in seconds", text)
}
