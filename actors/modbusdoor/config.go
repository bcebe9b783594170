package modbusdoor

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/server"
	"gatewayd/protocols/serial"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Config is the part about doors that the configs of all kinds with doors have in common.
type Config interface {
	GetTcp() []*modbusv1.TcpDoor
	GetSerial() []*modbusv1.SerialDoor
	GetMaxMasters() uint32
	GetMaxMastersPerAddress() uint32
	GetIdleTimeout() *durationpb.Duration
	GetSendTimeout() *durationpb.Duration
	GetInFlight() uint32
	GetAccess() string
}

var framings = map[string]modbus.Framing{"tcp": modbus.TCP, "rtu": modbus.RTUOverTCP, "ascii": modbus.ASCIIOverTCP}

// Check returns the violations that no rule of a single field can express.
func Check(cfg Config) (found []schemas.Violation) {
	if len(cfg.GetTcp())+len(cfg.GetSerial()) == 0 {
		found = schemas.Wrong("", errNoWay)
	}
	if cfg.GetAccess() != "" && !slices.ContainsFunc(cfg.GetTcp(), func(t *modbusv1.TcpDoor) bool { return t.Tls != nil }) {
		found = append(found, schemas.Wrong("access", errNoProof)...)
	}
	for i, t := range cfg.GetTcp() {
		_, err := wayOf(t)
		found = append(found, schemas.Wrong(fmt.Sprintf("tcp[%d].listen", i), err)...)
	}
	for i, p := range cfg.GetSerial() {
		_, err := portOf(p)
		found = append(found, schemas.Wrong(fmt.Sprintf("serial[%d]", i), err)...)
	}
	return found
}

var (
	errNoWay   = errors.New("no listener: set tcp or serial")
	errNoProof = errors.New("access needs a tcp listener with tls: masters are identified by their certificates")
)

// waysOf returns the listeners and ports of a config.
func waysOf(cfg Config) (tcp []server.TCP, ports []server.Port, err error) {
	for _, t := range cfg.GetTcp() {
		way, err := wayOf(t)
		if err != nil {
			return nil, nil, err
		}
		tcp = append(tcp, way)
	}
	for _, p := range cfg.GetSerial() {
		port, err := portOf(p)
		if err != nil {
			return nil, nil, err
		}
		ports = append(ports, port)
	}
	if len(tcp) == 0 && len(ports) == 0 {
		return nil, nil, errNoWay
	}
	return tcp, ports, nil
}

func wayOf(t *modbusv1.TcpDoor) (server.TCP, error) {
	way := server.TCP{Listen: t.Listen, Framing: framings[t.Framing]}
	if t.Tls != nil {
		way.TLS = &server.Files{Certificate: t.Tls.CertFile, Key: t.Tls.KeyFile, CA: t.Tls.CaFile}
		way.Readers, way.Writers = t.Tls.Readers, t.Tls.Writers
	}
	if way.Exposed() && !t.Insecure {
		return way, fmt.Errorf("listen = %q is outside loopback, and nothing there is encrypted or authenticated: "+
			"listen on 127.0.0.1, use tls or set insecure = true", t.Listen)
	}
	return way, nil
}

func portOf(p *modbusv1.SerialDoor) (server.Port, error) {
	port := server.Port{Config: settings(p)}
	if p.Framing == "ascii" {
		port.Framing = modbus.ASCII
	}
	return port, port.Check()
}

// settings returns the driver settings for a config.
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
