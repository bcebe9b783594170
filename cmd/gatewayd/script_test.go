package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"gatewayd/cmd/gatewayd/demo"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/serial/line"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gatewayd": main, "nats-server": natsServer})
}

// patience is how long a script waits for something that must happen: twice the time until the demo
// cuts a link again.
const patience = 3 * time.Minute

// TestScripts runs the scripts in testdata/script, each of which is a story from the view of an
// operator.
func TestScripts(t *testing.T) { testscript.Run(t, scripts()) }

// scripts returns the environment and commands of scripts.
func scripts() testscript.Params {
	return testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("STATE_DIRECTORY", env.Cd+"/data") // the default of --data
			env.Setenv("NO_COLOR", "1")
			peers, err := filepath.Abs("../../protocols/modbus/testdata")
			if err != nil {
				return err
			}
			env.Setenv("PEERS", peers) // servers of other vendors
			clients, err := filepath.Abs("testdata/clients")
			if err != nil {
				return err
			}
			env.Setenv("CLIENTS", clients)                                                      // in other languages
			env.Setenv("INCIDENT", filepath.Join(peers, "../../../actors/serialline/testdata")) // a recording and its config
			env.Values[sceneKey{}] = &scene{}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"freeport": freePortCommand, "subst": substCommand, "until": untilCommand,
			"needs": needsCommand, "cable": cableCommand, "plant": plantCommand, "busy": busyCommand, "signal": signalCommand, "users": usersCommand, "certs": certsCommand,
		},
	}
}

// scene is the state of a script besides files and variables.
type scene struct{ plant *demo.Plant }

type sceneKey struct{}

// freePortCommand is "freeport NAME": $NAME becomes a free port.
func freePortCommand(ts *testscript.TestScript, _ bool, args []string) {
	port, err := freeport.Find()
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(port))
}

// busyCommand is "busy NAME": $NAME becomes a port that is in use.
func busyCommand(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], port)
}

// needsCommand is "needs PACKAGES COMMAND...": if the command, which checks for the packages,
// fails, the script fails and tells how to install them.
func needsCommand(ts *testscript.TestScript, _ bool, args []string) {
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		ts.Fatalf("missing: apt-get install -y %s", args[0])
	}
}

// cableCommand is "cable A B": two serial ports that are connected with each other.
func cableCommand(ts *testscript.TestScript, _ bool, args []string) {
	var taps [2]*line.Tap
	for i := range taps {
		l, err := line.New(line.Options{Dir: ts.MkAbs("."), Name: args[i]})
		ts.Check(err)
		ts.Defer(func() { _ = l.Close() })
		taps[i] = l.Tap()
	}
	for i := range taps {
		go func() { _, _ = io.Copy(taps[i], taps[1-i]) }()
	}
}

// substCommand is "subst FILE...": $NAME in the files is replaced by its value.
func substCommand(ts *testscript.TestScript, _ bool, args []string) {
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// untilCommand is "until REGEXP exec COMMAND...": it repeats the command until its output matches.
func untilCommand(ts *testscript.TestScript, neg bool, args []string) {
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	last := ""
	for begin := time.Now(); time.Since(begin) < patience; {
		err := ts.Exec(args[2], args[3:]...)
		last = ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if want.MatchString(last) != neg {
			return
		}
		if err != nil {
			time.Sleep(20 * time.Millisecond) // nothing announces the change
		}
	}
	ts.Fatalf("%s never matched %q; at last it was:\n%s", strings.Join(args[1:], " "), args[0], last)
}

// signalCommand is "signal HUP": it signals the command last started in the background.
func signalCommand(ts *testscript.TestScript, _ bool, args []string) {
	all := ts.BackgroundCmds()
	if len(all) == 0 {
		ts.Fatalf("nothing runs in the background")
	}
	s := unix.SignalNum("SIG" + args[0])
	if s == 0 {
		ts.Fatalf("no signal is called %s", args[0])
	}
	ts.Check(all[len(all)-1].Process.Signal(s))
}

// plantCommand controls the simulated plant of a script:
//
//	plant start          starts one; $PLC is its PLC, $LINE its serial port
//	plant unplug, plug   the serial adapter
//	plant holds N VALUE  fails unless holding register N of the PLC has VALUE
func plantCommand(ts *testscript.TestScript, _ bool, args []string) {
	scene := ts.Value(sceneKey{}).(*scene)
	if args[0] == "start" {
		p, err := demo.StartPlant(ts.MkAbs("."))
		ts.Check(err)
		ts.Defer(p.Close)
		scene.plant = p
		ts.Setenv("PLC", p.PLC)
		ts.Setenv("LINE", p.Line.Path())
		return
	}
	p := scene.plant
	if p == nil {
		ts.Fatalf("plant start first")
	}
	switch args[0] {
	case "unplug":
		ts.Check(p.Line.Unplug())
	case "plug":
		ts.Check(p.Line.Plug())
	case "holds":
		n, err := strconv.ParseUint(args[1], 10, 16)
		ts.Check(err)
		got, ok := p.Holds(uint16(n))
		if !ok || fmt.Sprint(got) != args[2] {
			ts.Fatalf("register %d is %v, want %s", n, got, args[2])
		}
	default:
		ts.Fatalf("plant %s: unknown", args[0])
	}
}
