// Package munic sends records over MQTT in the shapes of the events of Munic's public cloud API:
// presence, track, message, poke and collection. The shapes follow Munic's public documentation.
// Topics, acknowledgements and ids are our own, because those of Munic are not public; the package
// is not compatible with any Munic service.
package munic

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"gatewayd/protocols/record"
)

// Form configures the events.
type Form struct {
	Account string
	Asset   string
	// Latitude and Longitude name the fields, in degrees, that are the location of a track. Empty:
	// none.
	Latitude, Longitude string
	// Collection is the name of the collections in which batches are sent; empty: each record is an
	// event of its own.
	Collection string
}

// event is one element of a message.
type event struct {
	Meta    meta `json:"meta"`
	Payload any  `json:"payload"`
}

type meta struct {
	Account string `json:"account"`
	Event   string `json:"event"`
}

func (f Form) event(kind string, payload any) event { return event{meta{f.Account, kind}, payload} }

// identity is an id as a number, and as text for platforms without 64-bit integers.
type identity struct {
	ID   uint64 `json:"id"`
	Text string `json:"id_str"`
}

func identify(id uint64) identity { return identity{id, strconv.FormatUint(id, 10)} }

type presence struct {
	identity
	Asset  string `json:"asset"`
	Time   string `json:"time"`
	Type   string `json:"type"` // connect, reconnect, disconnect
	Reason string `json:"reason,omitempty"`
}

type track struct {
	identity
	Connection string           `json:"connection_id"`
	Index      uint64           `json:"index"` // of the record in its track
	Asset      string           `json:"asset"`
	Recorded   string           `json:"recorded_at"`
	Precisely  string           `json:"recorded_at_ms"`
	Location   *[2]float64      `json:"loc,omitempty"` // longitude, latitude
	Fields     map[string]value `json:"fields"`
}

type value struct {
	Base64 string `json:"b64_value"`
}

type poke struct {
	identity
	Asset     string `json:"asset"`
	Sender    string `json:"sender"`
	Namespace string `json:"namespace"`
	Received  string `json:"received_at"`
	Base64    string `json:"b64_payload"`
}

type collection struct {
	Name string `json:"name"`
	identity
	Asset string  `json:"asset"`
	Start string  `json:"start_at"`
	Stop  string  `json:"stop_at"`
	Data  []event `json:"data"`
}

type message struct {
	identity
	Parent    string `json:"parent_id,omitempty"`
	Thread    string `json:"thread_id,omitempty"`
	Asset     string `json:"asset"`
	Sender    string `json:"sender"`
	Recipient string `json:"recipient"`
	Type      string `json:"type"` // message, ack, error
	Channel   string `json:"channel"`
	Recorded  string `json:"recorded_at"`
	Base64    string `json:"b64_payload"`
}

// begin is the epoch of ids: 41 bits of milliseconds last until 2079.
var begin = time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

// idOf returns the id of a record. It is the same whenever the record is sent, and sorts by time:
// 41 bits of milliseconds, 10 of the track's number, 12 of the sequence.
func idOf(r record.Record) uint64 {
	ms := min(max(r.Time.UnixMilli()-begin, 0), 1<<41-1)
	return uint64(ms)<<22 | uint64(r.Number&0x3ff)<<12 | r.Sequence&0xfff
}

// seconds and milliseconds format times as in the events.
func seconds(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func milliseconds(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// record returns the event of one record, and its id.
func (f Form) record(r record.Record, connection string) (event, identity) {
	id := identify(idOf(r))
	if r.Absent {
		// Texts only: cannot fail.
		text, _ := json.Marshal(map[string]string{"track": r.Track, "cause": r.Cause})
		return f.event("poke", poke{id, f.Asset, "gatewayd", "track::absent", seconds(r.Time), base64.StdEncoding.EncodeToString(text)}), id
	}
	t := track{
		identity: id, Connection: connection, Index: r.Sequence, Asset: f.Asset, Recorded: seconds(r.Time), Precisely: milliseconds(r.Time), Fields: map[string]value{},
	}
	var lat, lng *float64
	for _, x := range r.Fields {
		if n, ok := x.Value.(float64); ok && x.Quality == "" && x.Name == f.Latitude && math.Abs(n) <= 90 {
			lat = &n
			continue
		}
		if n, ok := x.Value.(float64); ok && x.Quality == "" && x.Name == f.Longitude && math.Abs(n) <= 180 {
			lng = &n
			continue
		}
		if b := encode(x.Value); b != nil && x.Quality == "" {
			t.Fields[name(x.Name)] = value{base64.StdEncoding.EncodeToString(b)}
		}
	}
	if lat != nil && lng != nil {
		t.Location = &[2]float64{*lng, *lat}
	}
	if r.Cause != "" {
		t.Fields["MDI_RECORD_REASON"] = value{base64.StdEncoding.EncodeToString([]byte(r.Cause))}
	}
	return f.event("track", t), id
}

// name converts a field name to the spelling of the events: DIO_IGNITION for dio-ignition.
func name(field string) string { return strings.ToUpper(strings.ReplaceAll(field, "-", "_")) }

// encode encodes a value as in the events: whole numbers as 4 octets, big-endian two's complement,
// if they fit; all other numbers as doubles, little-endian; booleans as one octet; texts and bytes
// unchanged. nil: there is none.
func encode(v record.Value) []byte {
	switch x := v.(type) {
	case bool:
		if x {
			return []byte{1}
		}
		return []byte{0}
	case int64:
		if x == int64(int32(x)) {
			return binary.BigEndian.AppendUint32(nil, uint32(x))
		}
		return double(float64(x))
	case uint64:
		if x <= math.MaxInt32 {
			return binary.BigEndian.AppendUint32(nil, uint32(x))
		}
		return double(float64(x))
	case float64:
		return double(x)
	case string:
		return append([]byte{}, x...)
	case []byte:
		return append([]byte{}, x...)
	}
	return nil
}

func double(f float64) []byte { return binary.LittleEndian.AppendUint64(nil, math.Float64bits(f)) }

// events returns the message of a batch, and the ids under which its records are acknowledged.
func (f Form) events(batch []record.Record, connection string) (payload []byte, ids []string, err error) {
	var all []event
	for _, r := range batch {
		e, id := f.record(r, connection)
		all, ids = append(all, e), append(ids, id.Text)
	}
	if f.Collection != "" {
		id := identify(idOf(batch[0]))
		c := collection{f.Collection, id, f.Asset, seconds(batch[0].Time), seconds(batch[len(batch)-1].Time), all}
		all = []event{f.event("collection", c)}
		for i := range ids {
			ids[i] = id.Text
		}
	}
	payload, err = json.Marshal(all)
	return payload, ids, err
}

// down is a message for the asset.
type down struct {
	ID      json.Number `json:"id"`
	Text    string      `json:"id_str"`
	Thread  string      `json:"thread_id"`
	Sender  string      `json:"sender"`
	Type    string      `json:"type"`
	Channel string      `json:"channel"`
	Base64  string      `json:"b64_payload"`
}

// id returns the id of the message; empty if it has none.
func (d down) id() string {
	if d.Text != "" {
		return d.Text
	}
	return d.ID.String()
}

// downs returns the messages in a payload: a list of events, one event, or the bare message.
func downs(payload []byte) ([]down, error) {
	type wrapped struct {
		Meta    *meta `json:"meta"`
		Payload down  `json:"payload"`
		down
	}
	var all []wrapped
	if err := json.Unmarshal(payload, &all); err != nil {
		all = make([]wrapped, 1)
		if err := json.Unmarshal(payload, &all[0]); err != nil {
			return nil, fmt.Errorf("a message that is not JSON events: %w", err)
		}
	}
	var some []down
	for _, w := range all {
		d := w.down
		if w.Meta != nil {
			d = w.Payload
		}
		if d.id() == "" {
			return nil, fmt.Errorf("a message without an id")
		}
		some = append(some, d)
	}
	return some, nil
}

// settled is the platform's acknowledgement of one event.
type settled struct {
	ID     string `json:"id_str"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}

// acks returns the acknowledgements in a payload: a list of them, or one.
func acks(payload []byte) []settled {
	var all []settled
	if json.Unmarshal(payload, &all) == nil {
		return all
	}
	var one settled
	if json.Unmarshal(payload, &one) == nil {
		return []settled{one}
	}
	return nil
}
