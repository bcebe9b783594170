package modbus_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/serial/line"
)

func TestCheck(t *testing.T) {
	data := func(n int) []byte { return make([]byte, n) }
	for name, c := range map[string]struct {
		r    modbus.Request
		f    modbus.Framing
		says string // "": passes
	}{
		"most registers":        {modbus.Request{Unit: 1, Function: 3, Quantity: 125}, modbus.RTU, ""},
		"too many registers":    {modbus.Request{Unit: 1, Function: 4, Quantity: 126}, modbus.RTU, "1..125"},
		"no register":           {modbus.Request{Unit: 1, Function: 3}, modbus.TCP, "quantity 0"},
		"most coils":            {modbus.Request{Unit: 1, Function: 1, Quantity: 2000}, modbus.TCP, ""},
		"too many coils":        {modbus.Request{Unit: 1, Function: 2, Quantity: 2001}, modbus.TCP, "1..2000"},
		"last address":          {modbus.Request{Unit: 1, Function: 3, Address: 65535, Quantity: 1}, modbus.TCP, ""},
		"beyond the last":       {modbus.Request{Unit: 1, Function: 3, Address: 65535, Quantity: 2}, modbus.TCP, "beyond address 65535"},
		"data of a read":        {modbus.Request{Unit: 1, Function: 3, Quantity: 1, Data: data(2)}, modbus.TCP, "2 bytes of data"},
		"coil on":               {modbus.Request{Unit: 1, Function: 5, Data: []byte{0xff, 0}}, modbus.TCP, ""},
		"coil neither":          {modbus.Request{Unit: 1, Function: 5, Data: []byte{0, 1}}, modbus.TCP, "neither"},
		"register without data": {modbus.Request{Unit: 1, Function: 6}, modbus.TCP, "0 bytes of data where 2"},
		"most coils written":    {modbus.Request{Unit: 1, Function: 15, Quantity: 1968, Data: data(246)}, modbus.TCP, ""},
		"too many written":      {modbus.Request{Unit: 1, Function: 15, Quantity: 1969, Data: data(247)}, modbus.TCP, "1..1968"},
		"most written":          {modbus.Request{Unit: 1, Function: 16, Quantity: 123, Data: data(246)}, modbus.TCP, ""},
		"124 written":           {modbus.Request{Unit: 1, Function: 16, Quantity: 124, Data: data(248)}, modbus.TCP, "1..123"},
		"mask":                  {modbus.Request{Unit: 1, Function: 22, Data: data(4)}, modbus.TCP, ""},
		"read/write":            {modbus.Request{Unit: 1, Function: 23, Quantity: 125, Data: data(242)}, modbus.TCP, ""},
		"read/write too much":   {modbus.Request{Unit: 1, Function: 23, Quantity: 125, Data: data(244)}, modbus.TCP, "1..121"},
		"read/write beyond":     {modbus.Request{Unit: 1, Function: 23, Quantity: 1, WriteAddress: 65535, Data: data(4)}, modbus.TCP, "beyond"},
		"diagnostics":           {modbus.Request{Unit: 1, Function: 8, Quantity: 1}, modbus.TCP, "neither address nor quantity"},
		"no sub-function":       {modbus.Request{Unit: 1, Function: 8, Data: data(2)}, modbus.TCP, "2 bytes of data: want a sub-function"},
		"reserved sub-function": {modbus.Diagnose(1, 19, 0, 0), modbus.TCP, "sub-function 19 is not in the specification"},
		"counter with data":     {modbus.Diagnose(1, modbus.ReturnBusMessages, 0, 1), modbus.RTU, "00 01 is not valid data for sub-function 11"},
		"long loopback":         {modbus.Diagnose(1, modbus.ReturnQueryData, data(250)...), modbus.RTU, ""},
		"odd loopback":          {modbus.Diagnose(1, modbus.ReturnQueryData, data(3)...), modbus.RTU, "even number"},
		"broadcast diagnostics": {modbus.Diagnose(0, modbus.ClearCounters, 0, 0), modbus.RTU, "broadcast"},
		"delimiter":             {modbus.Diagnose(1, modbus.ChangeDelimiter, 13, 0), modbus.RTU, ""},
		"delimiter on ASCII":    {modbus.Diagnose(1, modbus.ChangeDelimiter, 13, 0), modbus.ASCIIOverTCP, "end with LF"},
		"exception status":      {modbus.Request{Unit: 1, Function: 7}, modbus.TCP, ""},
		"status with data":      {modbus.Request{Unit: 1, Function: 7, Data: data(1)}, modbus.TCP, "1 bytes of data where 0"},
		"fifo":                  {modbus.Request{Unit: 1, Function: 24, Address: 65535}, modbus.ASCII, ""},
		"fifo with quantity":    {modbus.Request{Unit: 1, Function: 24, Quantity: 1}, modbus.ASCII, "an address, but neither quantity nor data"},
		"identification":        {modbus.Identify(1, modbus.OneObject, 200), modbus.RTU, ""},
		"category":              {modbus.Identify(1, 5, 0), modbus.RTU, "category 5 is not within 1..4"},
		"files":                 {modbus.ReadFiles(1, modbus.Records{File: 1, Length: 121}), modbus.RTU, ""},
		"no run":                {modbus.ReadFiles(1), modbus.RTU, "0 bytes of sub-requests"},
		"too much of files":     {modbus.ReadFiles(1, modbus.Records{File: 1, Length: 100}, modbus.Records{File: 2, Length: 21}), modbus.RTU, "more than 245"},
		"no file 0":             {modbus.ReadFiles(1, modbus.Records{Length: 1}), modbus.RTU, "file 0 is not"},
		"record beyond":         {modbus.ReadFiles(1, modbus.Records{File: 1, Record: 9999, Length: 2}), modbus.RTU, "beyond record 9999"},
		"files written":         {modbus.WriteFiles(1, modbus.Records{File: 1, Values: make([]uint16, 122)}), modbus.RTU, ""},
		"too much written":      {modbus.WriteFiles(1, modbus.Records{File: 1, Values: make([]uint16, 123)}), modbus.RTU, "1..251"},
		"broadcast to files":    {modbus.WriteFiles(0, modbus.Records{File: 1, Values: make([]uint16, 1)}), modbus.RTU, ""},
		"a function of its own": {modbus.Request{Unit: 1, Function: 100, Data: data(252)}, modbus.RTU, ""},
		"too long of its own":   {modbus.Request{Unit: 1, Function: 100, Data: data(253)}, modbus.RTU, "252"},
		"broadcast of its own":  {modbus.Request{Function: 100}, modbus.RTU, "broadcast"},
		"no function":           {modbus.Request{Unit: 1, Function: 128}, modbus.TCP, "function 128 is not within 1..127"},
		"broadcast read":        {modbus.Request{Function: 3, Quantity: 1}, modbus.RTU, "broadcast"},
		"broadcast read/write":  {modbus.Request{Function: 23, Quantity: 1, Data: data(2)}, modbus.RTUOverTCP, "broadcast"},
		"broadcast write":       {modbus.Request{Function: 6, Data: data(2)}, modbus.ASCII, ""},
		"unit 0 over TCP":       {modbus.Request{Function: 3, Quantity: 1}, modbus.TCP, ""},
	} {
		err := c.r.Check(c.f)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// TestSilenceIsKeptOnThePacedLine: requests of all sizes to several units on a wire with real
// timing, with exceptions and dead units.
func TestSilenceIsKeptOnThePacedLine(t *testing.T) {
	for _, baud := range []int{19200, 115200} {
		l, wire := wired(t, line.Options{FIFO: 16}, baud, func(f []byte, _ time.Time) ([]byte, time.Duration) {
			switch f[0] {
			case 9:
				return nil, 0
			case 8:
				return modbus.AppendFrame(nil, modbus.RTU, 0, 8, modbus.AppendException(nil, f[1], modbus.DeviceBusy)), 0
			}
			return registers(f), 3 * time.Millisecond
		})
		for i := range uint16(30) {
			r := read(7, i, 1+i%7*10)
			r.Timeout = time.Second
			got, err := l.Do(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			checkMeter(t, r, got)
			if _, err := l.Do(context.Background(), read(8, i, 4)); !isException(err, modbus.DeviceBusy) {
				t.Fatal(err)
			}
			if i == 9 {
				r := read(9, 0, 4)
				r.Timeout = 20 * time.Millisecond
				if _, err := l.Do(context.Background(), r); err == nil || modbus.LinkLost(err) {
					t.Fatal(err)
				}
			}
		}
		if s := wire.Stats(); s.Violations != 0 || s.Collided != 0 || s.Requests != 61 {
			t.Errorf("%d baud: %+v", baud, s)
		}
	}
}
