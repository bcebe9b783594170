package modbusgateway

import (
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/server"
	"gatewayd/protocols/serial"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// doors are the ways in that a config names.
type doors struct {
	tcp   []server.TCP
	ports []server.Port
}

// portNews is what became of a serial port; no cause: it is open.
type portNews struct{ port, cause string }

var framings = map[string]modbus.Framing{"tcp": modbus.TCP, "rtu": modbus.RTUOverTCP, "ascii": modbus.ASCIIOverTCP}

func doorsOf(tcp []*modbusv1.TcpDoor, ports []*modbusv1.SerialDoor) (doors, error) {
	var d doors
	for _, t := range tcp {
		way := server.TCP{Listen: t.Listen, Framing: framings[t.Framing]}
		if t.Tls != nil {
			way.TLS = &server.Files{Certificate: t.Tls.Certificate, Key: t.Tls.Key, CA: t.Tls.Ca}
			way.Readers, way.Writers = t.Tls.Readers, t.Tls.Writers
		}
		if way.Exposed() && !t.Insecure {
			return d, fmt.Errorf("listen = %q is outside loopback, and nothing there is encrypted or authenticated: "+
				"listen on 127.0.0.1, use tls or set insecure = true", t.Listen)
		}
		d.tcp = append(d.tcp, way)
	}
	for _, p := range ports {
		port := server.Port{Config: settings(p)}
		if p.Framing == "ascii" {
			port.Framing = modbus.ASCII
		}
		if err := port.Check(); err != nil {
			return d, err
		}
		d.ports = append(d.ports, port)
	}
	if len(d.tcp) == 0 && len(d.ports) == 0 {
		return d, fmt.Errorf("no way in: give tcp or serial")
	}
	return d, nil
}

// settings is a config as the driver needs it.
func settings(p *modbusv1.SerialDoor) serial.Config {
	s := serial.Config{Path: p.Port, Baud: int(p.Baud), DataBits: int(p.DataBits), Parity: p.Parity, StopBits: int(p.StopBits)}
	if s.StopBits == 0 {
		s.StopBits = 1
		if s.Parity == "none" {
			s.StopBits = 2
		}
	}
	if r := p.Rs485; r != nil {
		s.RS485 = &serial.RS485{
			RTSOnSend: r.RtsOnSend, RTSAfterSend: r.RtsAfterSend, RxDuringTx: r.RxDuringTx,
			DelayBefore: r.DelayBefore.AsDuration(), DelayAfter: r.DelayAfter.AsDuration(),
		}
	}
	return s
}

// warn says at every start which doors are open to everybody.
func (d doors) warn(c *actors.Context) {
	const warning = "masters are neither encrypted nor authenticated"
	for _, t := range d.tcp {
		if t.Exposed() {
			c.Log().Warn("insecure: "+warning, "listen", t.Listen)
			c.Event("insecure", &modbusv1.InsecureDoor{Listen: t.Listen, Warning: warning})
		}
	}
}

// said passes on what becomes of serial ports.
func (d doors) said(c *actors.Context) func(server.Port, error) {
	post := c.Post()
	return func(p server.Port, err error) {
		m := portNews{port: p.Path}
		if err != nil {
			m.cause = err.Error()
		}
		_ = post(m) // a life that is over need not know
	}
}

// masters lists who is connected; nobody while the doors are closed.
func masters(s *server.Server) *modbusv1.MastersResponse {
	if s == nil {
		return &modbusv1.MastersResponse{}
	}
	n := s.Counts()
	r := &modbusv1.MastersResponse{
		Accepted: n.Accepted, Refused: n.Refused, Strangers: n.Strangers, Idle: n.Idle, Slow: n.Slow, Garbled: n.Garbled,
		Requests: n.Requests, Exceptions: n.Exceptions, Garbage: n.Garbage,
	}
	for _, i := range s.Masters() {
		m := &modbusv1.Master{
			Door: i.Door, Address: i.Address, Role: i.Role, Since: timestamppb.New(i.Since),
			Requests: i.Requests, Exceptions: i.Exceptions, Garbage: i.Garbage, Open: uint32(i.Open),
		}
		if !i.Last.IsZero() {
			m.Last = timestamppb.New(i.Last)
		}
		r.Masters = append(r.Masters, m)
	}
	return r
}
