package mqttbroker_test

import (
	"bufio"
	"net"
	"os/exec"
	"testing"
	"time"
)

// program is a real MQTT client in a process of its own.
type program struct {
	t     *testing.T
	lines chan string
	done  chan error
}

// run starts a program and kills it when the test ends.
func run(t *testing.T, name string, args ...string) *program {
	t.Helper()
	cmd := exec.Command(name, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{t, make(chan string, 10000), make(chan error, 1)}
	go func() {
		s := bufio.NewScanner(out)
		for s.Scan() {
			p.lines <- s.Text()
		}
		close(p.lines)
		p.done <- cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range p.lines {
		}
	})
	return p
}

// next returns the next line of output.
func (p *program) next() string {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.t.Fatal("the program ended without a word")
		}
		return line
	case <-time.After(time.Minute): // two canary runs
		p.t.Fatal("the program says nothing")
		return ""
	}
}

// mosquitto runs mosquitto_sub, mosquitto_pub or mosquitto_rr, with line-buffered output.
func mosquitto(t *testing.T, which, addr string, args ...string) *program {
	t.Helper()
	name, err := exec.LookPath("mosquitto_" + which)
	if err != nil {
		t.Fatalf("mosquitto_%s is missing: apt-get install -y mosquitto-clients", which)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, "stdbuf", append([]string{"-oL", name, "-h", host, "-p", port}, args...)...)
}

// python runs a script that uses paho; the address is passed as its two arguments.
func python(t *testing.T, addr, script string, args ...string) *program {
	t.Helper()
	const debian = "/usr/bin/python3" // the interpreter with Debian's modules
	if err := exec.Command(debian, "-c", "import paho.mqtt.client").Run(); err != nil {
		t.Fatalf("paho for python is missing: apt-get install -y python3-paho-mqtt (%v)", err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, debian, append([]string{"-u", "-c", script, host, port}, args...)...)
}

// last returns the last line of output.
func (p *program) last() (line string) {
	p.t.Helper()
	for deadline := time.After(time.Minute); ; {
		select {
		case l, ok := <-p.lines:
			if !ok {
				return line
			}
			line = l
		case <-deadline:
			p.t.Fatal("the program does not end")
		}
	}
}

// wait waits for the program to end.
func (p *program) wait() { p.t.Helper(); p.last() }
