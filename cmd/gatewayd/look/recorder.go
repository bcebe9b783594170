package look

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"gatewayd/cmd/gatewayd/client"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/record"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// recorder writes a trace to a file. A nil recorder writes nothing.
type recorder struct {
	file   *os.File
	header record.Header
	w      *record.Writer // nil: no frame has arrived yet
	at     time.Duration
	missed uint64
}

func newRecorder(ctx context.Context, c *client.Client, name, link string) (*recorder, error) {
	file, err := create(name)
	if err != nil {
		return nil, err
	}
	return &recorder{file: file, header: recordOf(ctx, c, link)}, nil
}

// recordOf returns the header of a recording of a link, without its framing.
func recordOf(ctx context.Context, c *client.Client, link string) record.Header {
	h := record.Header{Link: link}
	line, tcp := &modbusv1.SerialLine{}, &modbusv1.TcpLink{}
	if is, err := c.ConfigInto(ctx, link, line); err == nil && is {
		h.Transport, h.Baud, h.Bits = "serial", int(line.Baud), bitsOf(line)
	} else if is, err := c.ConfigInto(ctx, link, tcp); err == nil && is {
		h.Transport = tcp.Transport
		if tcp.Tls != nil {
			h.Transport = "tls"
		}
	}
	return h
}

// bitsOf returns the number of bits per character on a line, including start, parity and stop bits.
func bitsOf(line *modbusv1.SerialLine) int {
	n, stop := 1+int(line.DataBits), int(line.StopBits)
	if line.Parity != "none" {
		n++
		stop = max(stop, 1)
	} else if stop == 0 {
		stop = 2
	}
	return n + stop
}

// take writes a frame. For a frame that was kept only in part it writes a remark instead.
func (r *recorder) take(m *modbusv1.TraceResponse) error {
	if r == nil {
		return nil
	}
	f := m.Frame
	e := record.Entry{Note: frameNote(f)}
	var err error
	if e.Bytes, err = hex.DecodeString(f.Hex); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if e.Mark, err = modbus.ParseMark(f.Mark); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	switch f.Direction {
	case "sent":
		e.Direction = modbus.Sent
	case "received":
		e.Direction = modbus.Received
	}
	if r.w == nil {
		r.header.Began = f.Time.AsTime()
		if r.header.Framing, err = modbus.ParseFraming(m.Framing); err != nil {
			return fmt.Errorf("record: %w", err)
		}
		if r.w, err = record.NewWriter(r.file, r.header); err != nil {
			return err
		}
	} else {
		r.at += f.Gap.AsDuration()
	}
	if m.Missed > r.missed {
		if err := r.w.Remark(fmt.Sprintf("%d frames were lost because they arrived too fast to record", m.Missed-r.missed)); err != nil {
			return err
		}
		r.missed = m.Missed
	}
	e.At = r.at
	if f.Size > 0 {
		return r.w.Remark(fmt.Sprintf("truncated, it had %d bytes: %s", f.Size, e.Note))
	}
	return r.w.Write(e)
}

func frameNote(f *modbusv1.Frame) string {
	if f.Unit == 0 && f.Function == 0 {
		return f.Text
	}
	return fmt.Sprintf("unit %d: %s", f.Unit, f.Text)
}

// empty reports whether no frame has been recorded.
func (r *recorder) empty() bool { return r != nil && r.w == nil }

// close ends the recording. It removes a file without any frame, which could not be replayed.
func (r *recorder) close() error {
	if r == nil || r.file == nil {
		return nil
	}
	file := r.file
	r.file = nil
	err := file.Close()
	if r.empty() {
		err = errors.Join(err, os.Remove(file.Name()))
	}
	return err
}
