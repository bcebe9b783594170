package points

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Time values are text: RFC 3339 in UTC for types that count from 1970, and without a zone for what
// a device's own clock shows.
const (
	utcTime   = "2006-01-02T15:04:05Z"
	localTime = "2006-01-02T15:04:05.999"
)

// lastSecond is the last second of the year 9999, the end of what RFC 3339 can express.
const lastSecond = 253402300799

func fromUnix(raw uint64) (Value, error) {
	if raw > lastSecond {
		return Value{}, fmt.Errorf("%d s since 1970 is beyond the year 9999: %w", raw, ErrNoValue)
	}
	return Text(time.Unix(int64(raw), 0).UTC().Format(utcTime)), nil
}

func toUnix(v Value, bytes int) (uint64, error) {
	text, ok := v.Text()
	at, err := time.Parse(time.RFC3339, text)
	if !ok || err != nil || at.Nanosecond() != 0 {
		return 0, fmt.Errorf("%q is not a time like 2026-01-31T12:00:00Z", v)
	}
	if s := at.Unix(); s < 0 || s > lastSecond || bytes == 4 && s > 1<<32-1 {
		return 0, fmt.Errorf("%s is out of range: %d bytes hold seconds since 1970-01-01T00:00:00Z", text, bytes)
	}
	return uint64(at.Unix()), nil
}

// date returns a time read from a clock. A time that does not exist is ErrNoValue.
func date(year, month, day, hour, minute, ms int) (Value, error) {
	at := time.Date(year, time.Month(month), day, hour, minute, ms/1000, ms%1000*1e6, time.UTC)
	if at.Year() != year || int(at.Month()) != month || at.Day() != day || at.Hour() != hour || at.Minute() != minute || year < 1 || year > 9999 || ms > 59999 {
		return Value{}, fmt.Errorf("%d-%d-%d %d:%d and %d ms is not a valid time: %w", year, month, day, hour, minute, ms, ErrNoValue)
	}
	return Text(at.Format(localTime)), nil
}

// onClock parses such a time. Its year must be within first to last, which the point can hold.
func onClock(v Value, first, last int, fraction bool) (time.Time, error) {
	text, ok := v.Text()
	at, err := time.Parse(localTime, text)
	switch {
	case !ok || err != nil || at.Nanosecond()%1e6 != 0 || !fraction && at.Nanosecond() != 0:
		return at, fmt.Errorf("%q is not a time like 2026-01-31T12:00:00", v)
	case at.Year() < first || at.Year() > last:
		return at, fmt.Errorf("the year of %s is outside %d to %d", text, first, last)
	}
	return at, nil
}

// fromCP56 decodes the four registers of IEC 60870-5-4 as meters send them: year since 2000 in bits
// 6-0; month in 11-8, weekday in 7-5 and day in 4-0; summer time in 15, hour in 12-8, invalid in 7
// and minute in 5-0; milliseconds of the minute.
func fromCP56(raw uint64) (Value, error) {
	if raw>>23&1 == 1 {
		return Value{}, fmt.Errorf("the device marks its clock as invalid: %w", ErrNoValue)
	}
	return date(2000+int(raw>>48&0x7f), int(raw>>40&0xf), int(raw>>32&0x1f), int(raw>>24&0x1f), int(raw>>16&0x3f), int(raw&0xffff))
}

func toCP56(v Value) (uint64, error) {
	at, err := onClock(v, 2000, 2127, true)
	if err != nil {
		return 0, err
	}
	ms := at.Second()*1000 + at.Nanosecond()/1e6
	return uint64(at.Year()-2000)<<48 | uint64(at.Month())<<40 | uint64(at.Day())<<32 | uint64(at.Hour())<<24 | uint64(at.Minute())<<16 | uint64(ms), nil
}

func fromBCDTime(raw uint64) (Value, error) {
	n, ok := fromBCD(raw)
	if !ok {
		return Value{}, fmt.Errorf("%#x is not decimal digits: %w", raw, ErrNoValue)
	}
	if n%100 > 59 {
		return Value{}, fmt.Errorf("%012d is not a valid time: %w", n, ErrNoValue)
	}
	return date(2000+int(n/1e10), int(n/1e8%100), int(n/1e6%100), int(n/1e4%100), int(n/100%100), int(n%100)*1000)
}

func toBCDTime(v Value) (uint64, error) {
	at, err := onClock(v, 2000, 2099, false)
	if err != nil {
		return 0, err
	}
	n := uint64(at.Year() - 2000)
	for _, two := range []int{int(at.Month()), at.Day(), at.Hour(), at.Minute(), at.Second()} {
		n = n*100 + uint64(two)
	}
	return toBCD(n), nil
}

func fromFields(bytes []byte) (Value, error) {
	var f [6]int
	for i := range f {
		f[i] = int(binary.BigEndian.Uint16(bytes[2*i:]))
	}
	if f[5] > 59 {
		return Value{}, fmt.Errorf("second %d is outside 0 to 59: %w", f[5], ErrNoValue)
	}
	return date(f[0], f[1], f[2], f[3], f[4], f[5]*1000)
}

func toFields(v Value) ([]byte, error) {
	at, err := onClock(v, 1, 9999, false)
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, n := range []int{at.Year(), int(at.Month()), at.Day(), at.Hour(), at.Minute(), at.Second()} {
		out = binary.BigEndian.AppendUint16(out, uint16(n))
	}
	return out, nil
}
