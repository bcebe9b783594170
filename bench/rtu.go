package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"gatewayd/protocols/serial/line"
)

// rtuFlag runs this process as one that polls a line; the path, registers and polls follow.
const rtuFlag = "--rtu"

// rtuLimits are the limits of CPU time per transaction, in milliseconds, by number of registers.
var rtuLimits = []struct {
	registers, polls int
	limit            float64
}{{10, 150, 0.4}, {125, 40, 2}}

// rtuCost is the figure "rtu": CPU time of a process that polls a line of 9600 baud. The line is
// simulated in this process.
func rtuCost(ctx context.Context, b *bench) error {
	l, err := line.New(line.Options{Dir: b.dir, Name: "rs485"})
	if err != nil {
		return err
	}
	defer l.Close()
	l.Attach(func(frame []byte, _ time.Time) ([]byte, time.Duration) { return answer(frame), 0 })
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, c := range rtuLimits {
		cmd := exec.CommandContext(ctx, self, rtuFlag, l.Path(), strconv.Itoa(c.registers), strconv.Itoa(c.polls))
		cmd.Stderr = os.Stderr
		text, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("polls of %d registers: %w", c.registers, err)
		}
		var cpu time.Duration
		if err := json.Unmarshal(text, &cpu); err != nil {
			return err
		}
		each := cpu.Seconds() * 1e3 / float64(c.polls)
		b.say(row{
			Figure: fmt.Sprintf("RTU 9600 baud, %d registers: CPU each", c.registers), Value: fmt.Sprintf("%.2f ms", each), Limit: fmt.Sprintf("≤ %.3g ms", c.limit),
		}.below(each, c.limit))
	}
	return nil
}

// rtuPolls runs in that process. It prints the CPU time of its polls.
func rtuPolls(args []string) error {
	registers, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	polls, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	c, err := dialOurs(args[0], 9600)
	if err != nil {
		return err
	}
	defer c.close()
	for range 3 {
		if err := c.poll(registers); err != nil {
			return err
		}
	}
	before := cpuSelf()
	for range polls {
		if err := c.poll(registers); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(cpuSelf() - before)
}
