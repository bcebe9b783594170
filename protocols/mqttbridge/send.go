package mqttbridge

import (
	"context"
	"errors"
	"time"

	"gatewayd/protocols/mqttclient"
)

// Send publishes messages in their order, several at a time, and waits for all
// acknowledgements. What the broker refuses, or could never take, is counted and left
// behind; with any other error nothing is known of those that are not counted.
func Send(ctx context.Context, client *mqttclient.Client, messages []mqttclient.Message, patience time.Duration) (sent, refused int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	outcomes := make([]<-chan error, 0, len(messages))
	for _, m := range messages {
		done, e := client.Start(ctx, m)
		if never(e) {
			refused++
			continue
		}
		if err = e; err != nil {
			break
		}
		outcomes = append(outcomes, done)
	}
	for _, done := range outcomes {
		var e error
		select {
		case e = <-done:
		case <-ctx.Done():
			e = ctx.Err()
		}
		switch {
		case never(e):
			refused++
		case e != nil:
			err = e
		default:
			sent++
		}
	}
	return sent, refused, err
}

// never says that the broker will not take a message another time either.
func never(err error) bool {
	var refused *mqttclient.Refused
	return errors.As(err, &refused) || errors.Is(err, mqttclient.ErrTooLarge) || errors.Is(err, mqttclient.ErrTopic)
}
