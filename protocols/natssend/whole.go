package natssend

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gatewayd/protocols/record"
	"gatewayd/protocols/shape"
	"gatewayd/protocols/uplink"
)

// Messages published concurrently may be stored out of order if a server of the cluster goes away:
// one is lost with it, the next one is not, and the first is sent again. A stream that allows it
// stores a batch as a whole or not at all.

// maxWhole is the number of messages per atomic batch; servers accept 1000.
const maxWhole = 500

// noBatches is JetStream's code for a stream that does not allow atomic batches
// (JSAtomicPublishDisabledErr).
const noBatches = 10174

// whole sends a batch so that the stream stores it in order; done is false if it must be sent in
// another way.
func (s *sender) whole(ctx context.Context, batch []record.Record, messages []shape.Message) (done bool, err error) {
	if s.apart || len(messages) < 2 {
		return false, nil
	}
	for at := 0; at < len(messages); at += maxWhole {
		part := messages[at:min(at+maxWhole, len(messages))]
		err := s.atomic(ctx, batch, part)
		var api *jetstream.APIError
		switch {
		case errors.Is(err, errApart), errors.As(err, &api) && api.ErrorCode == noBatches:
			s.apart = true
			return false, nil
		case errors.As(err, &api):
			// Some of it is stored already or refused, or other clients are sending.
			err = s.slowly(ctx, batch, part)
		}
		var some *uplink.PartialError
		var refused *uplink.RejectedError
		switch {
		case err == nil || errors.As(err, &refused) || errors.As(err, &some):
		case at > 0:
			err = &uplink.PartialError{Taken: messages[at-1].Records[0] + 1, Err: explained(ctx, err, part[0].Topic)}
		default:
			err = explained(ctx, err, part[0].Topic)
		}
		if err != nil {
			return true, err
		}
	}
	return true, nil
}

// errApart means that a server does not know atomic batches.
var errApart = errors.New("the server stores each message by itself")

// atomic sends messages as one atomic batch.
func (s *sender) atomic(ctx context.Context, batch []record.Record, messages []shape.Message) error {
	id := strings.TrimPrefix(nats.NewInbox(), nats.InboxPrefix)
	for i, m := range messages {
		msg, err := s.message(batch, m)
		if err != nil {
			return err
		}
		msg.Header.Set("Nats-Batch-Id", id)
		msg.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		if i < len(messages)-1 {
			if err := s.conn.PublishMsg(msg); err != nil {
				return err
			}
			continue
		}
		msg.Header.Set("Nats-Batch-Commit", "1")
		answer, err := s.conn.RequestMsgWithContext(ctx, msg)
		if err != nil {
			return err
		}
		return taken(answer, id)
	}
	return nil
}

// taken reads the stream's acknowledgement of a batch.
func taken(answer *nats.Msg, id string) error {
	var ack struct {
		Error *jetstream.APIError `json:"error"`
		Batch string              `json:"batch"`
	}
	switch err := json.Unmarshal(answer.Data, &ack); {
	case err != nil:
		return err
	case ack.Error != nil:
		return ack.Error
	case ack.Batch != id:
		return errApart
	}
	return nil
}

// slowly sends one message after the other.
func (s *sender) slowly(ctx context.Context, batch []record.Record, messages []shape.Message) error {
	for i, m := range messages {
		msg, err := s.message(batch, m)
		if err == nil {
			_, err = s.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
		}
		switch {
		case err == nil:
		case never(err):
			return &uplink.RejectedError{Records: []uplink.Refusal{{Index: m.Records[0], Why: err.Error()}}}
		case i > 0 || m.Records[0] > 0:
			return &uplink.PartialError{Taken: m.Records[0], Err: explained(ctx, err, m.Topic)}
		default:
			return explained(ctx, err, m.Topic)
		}
	}
	return nil
}
