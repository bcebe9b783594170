package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	cookieAsks = 5000
	cookieP99  = 400 * time.Microsecond
	cookieWarm = 7 * time.Second // by then the start is over and the collector has adapted to the load
)

// cookie is the figure "cookie": how long a controller with one outstanding request waits for its
// answer.
func cookie(ctx context.Context, b *bench) error {
	bin := filepath.Join(b.dir, "gatewayd")
	if err := build(ctx, bin, "gatewayd/cmd/gatewayd"); err != nil {
		return err
	}
	plc, err := serveModbus(ctx)
	if err != nil {
		return err
	}
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "cookie.toml")
	if err := os.WriteFile(file, []byte(cookieConfig(ports[0], ports[1], plc)), 0o644); err != nil {
		return err
	}
	p, err := startUntil(ports, filepath.Join(b.dir, "log"), []string{bin, "run", "--config", file, "--data", filepath.Join(b.dir, "data"), "--log", "warn"})
	if err != nil {
		return err
	}
	defer p.end()
	c, err := newController(ports[1])
	if err != nil {
		return err
	}
	defer c.Close()
	for ready := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		answer, err := c.ask()
		if err == nil && len(answer) > 5 && answer[:5] == "5 OK " {
			break
		}
		if time.Now().After(ready) {
			return fmt.Errorf("the first request: %q %w", answer, err)
		}
	}
	took := make([]time.Duration, 0, cookieAsks)
	for warm := time.Now().Add(cookieWarm); len(took) < cookieAsks; {
		begin := time.Now()
		if answer, err := c.ask(); err != nil || answer[:5] != "5 OK " {
			return fmt.Errorf("request %d: %q %w", len(took), answer, err)
		}
		if begin.After(warm) {
			took = append(took, time.Since(begin))
		}
	}
	p99 := quantile(took, 0.99)
	b.say(row{
		Figure: "cookie protocol, one request: p99 (p50)", Value: fmt.Sprintf("%.2f ms (%.2f)", ms(p99), ms(median(took))),
		Limit: fmt.Sprintf("≤ %.1f ms", ms(cookieP99)),
	}.below(p99.Seconds(), cookieP99.Seconds()))
	return nil
}

func cookieConfig(busPort, mqttPort int, plc string) string {
	return fmt.Sprintf(`gateway = "bench"
[bus]
kind = "bus"
listen = "127.0.0.1:%d"
anonymous = "observer"
[mqtt]
kind = "mqtt-broker"
listen = "127.0.0.1:%d"
[door]
kind = "modbus-mqtt"
broker = "mqtt"
targets = [{ device = "rs485", unit = "field/unit" }]
[wall]
kind = "modbus-firewall"
rules = [{ name = "controller", action = "allow", callers = ["cookie/me"] }]
[field.link]
kind = "tcp-link"
address = %q
[field.unit]
kind = "modbus-unit"
link = "field/link"
unit = 1
firewall = "wall"
`, busPort, mqttPort, plc)
}

// controller is a minimal MQTT client.
type controller struct {
	net.Conn
	in *bufio.Reader
}

func newController(port int) (*controller, error) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	c := &controller{conn, bufio.NewReader(conn)}
	_ = c.SetDeadline(time.Now().Add(40 * time.Second))
	connect := append([]byte{0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0}, 0, 2, 'm', 'e')
	subscribe := append([]byte{0x82, 13, 0, 1, 0, 8}, "response\x00"...)
	for _, packet := range [][]byte{connect, subscribe} {
		if _, err = c.Write(packet); err == nil {
			_, _, err = c.read()
		}
		if err != nil {
			return nil, fmt.Errorf("the controller at the broker: %w", err)
		}
	}
	return c, nil
}

// ask publishes a request and reads its answer.
func (c *controller) ask() (string, error) {
	const topic, line = "request", "1 5 rs485 1 1 3 1 4"
	packet := append([]byte{0x30, byte(2 + len(topic) + len(line)), 0, byte(len(topic))}, topic+line...)
	if _, err := c.Write(packet); err != nil {
		return "", err
	}
	kind, body, err := c.read()
	if err != nil || kind>>4 != 3 || len(body) < 2 {
		return "", fmt.Errorf("packet %x %x: %w", kind, body, err)
	}
	return string(body[2+int(binary.BigEndian.Uint16(body)):]), nil
}

func (c *controller) read() (kind byte, body []byte, err error) {
	if kind, err = c.in.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(c.in)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, n)
	_, err = io.ReadFull(c.in, body)
	return kind, body, err
}
