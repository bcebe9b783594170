package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// Plug adds a device, e.g. Plug(ctx, "usb-serial", "adapter", map[string]any{"chardev": "line",
// "bus": "usb.0"}).
func (m *Machine) Plug(ctx context.Context, driver, id string, properties map[string]any) error {
	arguments := map[string]any{"driver": driver, "id": id}
	for k, v := range properties {
		arguments[k] = v
	}
	if err := m.qmp.execute(ctx, "device_add", arguments); err != nil {
		return fmt.Errorf("plug %s: %w", id, err)
	}
	return nil
}

// Unplug removes a device and returns when it is removed.
func (m *Machine) Unplug(ctx context.Context, id string) error {
	if err := m.qmp.execute(ctx, "device_del", map[string]any{"id": id}); err != nil {
		return fmt.Errorf("unplug %s: %w", id, err)
	}
	if err := m.qmp.event(ctx, "DEVICE_DELETED"); err != nil {
		return fmt.Errorf("unplug %s: %w", id, err)
	}
	return nil
}

// Event waits for a QEMU event, e.g. WATCHDOG or RESET, after those that an earlier call has seen.
func (m *Machine) Event(ctx context.Context, name string) error {
	if err := m.qmp.event(ctx, name); err != nil {
		return fmt.Errorf("no %s: %w\n%s", name, err, m.Log())
	}
	return nil
}

// qmp is QEMU's machine protocol: JSON commands, one answer each, events in between.
// https://www.qemu.org/docs/master/interop/qmp-spec.html
type qmp struct {
	conn   net.Conn
	in     *json.Decoder
	events []string // seen while waiting for an answer, oldest first
}

type qmpMessage struct {
	Event string
	Error *struct{ Desc string }
}

func newQMP(ctx context.Context, conn net.Conn) (*qmp, error) {
	q := &qmp{conn: conn, in: json.NewDecoder(conn)}
	if _, err := q.next(ctx); err != nil {
		return nil, fmt.Errorf("qmp greeting: %w", err)
	}
	return q, q.execute(ctx, "qmp_capabilities", nil)
}

func (q *qmp) execute(ctx context.Context, command string, arguments map[string]any) error {
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(q.conn).Encode(request); err != nil {
		return err
	}
	for {
		answer, err := q.next(ctx)
		switch {
		case err != nil:
			return err
		case answer.Event != "":
			q.events = append(q.events, answer.Event)
		case answer.Error != nil:
			return fmt.Errorf("%s: %s", command, answer.Error.Desc)
		default:
			return nil
		}
	}
}

func (q *qmp) event(ctx context.Context, name string) error {
	for {
		for len(q.events) > 0 {
			seen := q.events[0]
			q.events = q.events[1:]
			if seen == name {
				return nil
			}
		}
		m, err := q.next(ctx)
		if err != nil {
			return err
		}
		q.events = append(q.events, m.Event)
	}
}

func (q *qmp) next(ctx context.Context) (qmpMessage, error) {
	stop := context.AfterFunc(ctx, func() { q.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var m qmpMessage
	if err := q.in.Decode(&m); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return m, fmt.Errorf("qmp: %w", err)
	}
	return m, nil
}
