package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/klauspost/compress/zstd"

	"gatewayd/protocols/mdi"
	"gatewayd/protocols/record"
	"gatewayd/protocols/sparkplug"
)

const (
	mdiRecords = 2000
	mdiBatch   = 100

	mdiToJSON      = 0.15
	mdiToSparkplug = 0.5
	mdiToZstd      = 0.8
)

// mdiSize is the figure "mdi": bytes of records of a meter on the wire, by the compact uplink with
// everything its session adds, and in other formats without what their protocols add.
func mdiSize(_ context.Context, b *bench) error {
	all := meterTrack(mdiRecords)
	ours, err := compactSize(all)
	if err != nil {
		return err
	}
	plain, spark, packed := 0, 0, 0
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		return err
	}
	for from := 0; from < len(all); from += mdiBatch {
		var lines []byte
		for i, r := range all[from : from+mdiBatch] {
			line := jsonRecord(r)
			plain += len(line)
			lines = append(append(lines, line...), '\n')
			spark += len(sparkplugRecord(r, from+i).Append(nil))
		}
		packed += len(enc.EncodeAll(lines, nil))
	}
	n := float64(len(all))
	for _, p := range []struct {
		peer  string
		bytes int
		limit float64
	}{{"compact JSON", plain, mdiToJSON}, {"Sparkplug B", spark, mdiToSparkplug}, {"JSON in 100s, zstd", packed, mdiToZstd}} {
		ratio := float64(ours) / float64(p.bytes)
		b.say(row{
			Figure: "uplink-mdi, a record of 10 fields", Value: fmt.Sprintf("%.1f bytes", float64(ours)/n), Peer: fmt.Sprintf("%s %.1f bytes", p.peer, float64(p.bytes)/n),
			Ratio: ratio, Limit: fmt.Sprintf("≤ %.2f", p.limit),
		}.below(ratio, p.limit))
	}
	return nil
}

// compactSize returns the bytes sent by a session that opens, names the track, and has its batches
// acknowledged.
func compactSize(all []record.Record) (int, error) {
	now, sent := all[0].Time, 0
	client := mdi.NewClient(mdi.ClientConfig{Gateway: "site-17", Keepalive: time.Minute, Patience: time.Minute})
	receiver := mdi.NewReceiver(mdi.ReceiverConfig{Window: 1, Take: func(string, []record.Record) (map[int]string, error) { return nil, nil }})
	conn := receiver.Accept(now, nil)
	pending := client.Begin(now)
	for key, from := 0, 0; ; {
		var answers []mdi.Effect
		for _, e := range pending {
			switch e := e.(type) {
			case mdi.Send:
				sent += len(e) + mdi.Overhead
				m, err := mdi.Decode(e)
				if err != nil {
					return 0, err
				}
				answers = append(answers, conn.Receive(now, m)...)
			case mdi.Over:
				return 0, e.Err
			}
		}
		pending = nil
		for _, e := range answers {
			switch e := e.(type) {
			case mdi.Send:
				m, err := mdi.Decode(e)
				if err != nil {
					return 0, err
				}
				pending = append(pending, client.Receive(now, m)...)
			case mdi.Over:
				return 0, e.Err
			}
		}
		if from == len(all) {
			return sent, nil
		}
		key++
		pending = append(pending, client.Submit(now, key, all[from:from+mdiBatch])...)
		from += mdiBatch
	}
}

// meterTrack returns more than an hour of a three-phase meter, recorded every 2 s with the jitter
// of polls.
func meterTrack(n int) []record.Record {
	dice := rand.New(rand.NewPCG(1, 2))
	fields := []struct {
		name, unit        string
		at, step, decimal float64
	}{
		{"voltage-l1", "V", 230.1, 0.3, 1}, {"voltage-l2", "V", 231.4, 0.3, 1}, {"voltage-l3", "V", 229.8, 0.3, 1},
		{"current-l1", "A", 12.41, 0.2, 2}, {"current-l2", "A", 9.87, 0.2, 2}, {"current-l3", "A", 14.02, 0.2, 2},
		{"power", "W", 8214, 60, 0}, {"power-factor", "", 0.971, 0.003, 3}, {"frequency", "Hz", 50.01, 0.01, 2}, {"energy", "kWh", 18344.2, 0.05, 1},
	}
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	all := make([]record.Record, n)
	for i := range all {
		late := time.Duration(i)*2*time.Second + time.Duration(dice.IntN(4))*time.Millisecond
		r := record.Record{
			Track: "tracks/meter-7", Number: 7, Sequence: 4_000_000 + uint64(i), Time: begin.Add(late), Trusted: true,
			Boot: "5f0c7a52-4f3a-4e0e-9d57-2f1c8e5f6a11", Uptime: 40*time.Hour + late,
		}
		for k := range fields {
			f := &fields[k]
			if f.name == "energy" {
				f.at += f.step * dice.Float64()
			} else {
				f.at += f.step * dice.NormFloat64()
			}
			p := math.Pow10(int(f.decimal))
			r.Fields = append(r.Fields, record.Field{Name: f.name, ID: uint32(k + 1), Unit: f.unit, Value: math.Round(f.at*p) / p})
		}
		all[i] = r
	}
	return all
}

// jsonRecord returns a record as readable JSON, as short as possible.
func jsonRecord(r record.Record) []byte {
	fields := map[string]any{}
	for _, f := range r.Fields {
		fields[f.Name] = f.Value
	}
	b, _ := json.Marshal(map[string]any{"track": r.Track, "sequence": r.Sequence, "time": r.Time.UnixMilli(), "fields": fields}) // numbers only: cannot fail
	return b
}

// sparkplugRecord returns a DDATA message with aliases and values in single precision.
func sparkplugRecord(r record.Record, seq int) *sparkplug.Payload {
	p := &sparkplug.Payload{Time: r.Time.UnixMilli(), Seq: seq % 256}
	for _, f := range r.Fields {
		p.Metrics = append(p.Metrics, sparkplug.Metric{Alias: uint64(f.ID), Time: r.Time.UnixMilli(), Type: sparkplug.Float, Value: float32(f.Value.(float64))})
	}
	return p
}
