package uplink

import (
	"testing"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/record"
)

// What was dropped behind the messages that an uplink has does not count as waiting.
func TestDroppedRecordsDoNotWait(t *testing.T) {
	chunk := func(seq, first uint64) actors.Stored {
		p, err := record.Encode(&record.Chunk{Boot: "b", First: first, Count: 10, Records: manyFrom(first, 10)})
		if err != nil {
			t.Fatal(err)
		}
		return actors.Stored{Seq: seq, ContentType: record.ChunkType, Data: p}
	}
	all, err := amount(actors.TrackBacklog{Oldest: chunk(1, 1), Held: chunk(2, 11), Next: chunk(90, 891), Newest: chunk(91, 901)})
	if err != nil || all.Records != 40 {
		t.Errorf("%+v %v", all, err)
	}
}

func manyFrom(first uint64, n int) (all []record.Record) {
	for i := range n {
		all = append(all, record.Record{Sequence: first + uint64(i), Boot: "b", Time: time.Unix(int64(i), 0)})
	}
	return all
}
