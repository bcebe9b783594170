// Package standin stands in for what a technician does not have at hand: simulated devices, a line
// that replays a recording, and the far end of uplink-mdi.
package standin

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/device"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/protocols/modbus/sim"
)

// SimCommand returns "sim", which simulates devices.
func SimCommand() *cobra.Command {
	s := &simulation{}
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run simulated Modbus devices for testing",
		Long: `Run simulated Modbus devices until interrupted, for testing: on a TCP port, on a
pseudo terminal that any program can open as a serial port, or on a real serial
port whose other end another program reads.

With --profile the devices have the registers of that device, with plausible
values that change slowly. Without it, each has 100 of every kind: holding
registers and coils that keep what is written, input registers and discrete
inputs that change. It also has file 1 with 100 records and a FIFO queue at 0, and
answers functions 7, 8, 11, 12, 17 and 43/14. Values that a client has written
always stay.

The faults are ` + strings.Join(sim.Faults[:4], ", ") + `,
` + strings.Join(sim.Faults[4:], ", ") + `. UNITS: in front of a fault
restricts it to these units.

A pseudo terminal paces bytes at the baud rate that its client sets; with --baud
it works at that rate only. With --unpaced bytes take no time.`,
		Example: `  gatewayd sim --units 1-4 --profile eastron-sdm630
  gatewayd sim --pty --units 1-3 --fault 2:slow=200ms --fault 3:silent
  gatewayd sim --port /dev/ttyUSB1 --baud 9600 --parity even --profile ./my-meter.toml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if s.pty == anywhere && len(args) == 1 {
				return exit.Usage("write --pty=%s, with =", args[0])
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.out = cmd.OutOrStdout()
			return s.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.units, "units", "1", "unit addresses of the devices, like 1-4,7")
	f.StringVar(&s.profile, "profile", "", "device profile: a built-in name like eastron-sdm630, or a file")
	f.StringArrayVar(&s.faults, "fault", nil, "fault to simulate, as [UNITS:]FAULT (repeatable)")
	f.Uint64Var(&s.seed, "seed", 1, "seed of the random faults of flaky and noisy devices")
	f.StringVar(&s.listen, "listen", "", "host:port to listen on; port 0 for any free one (default "+simAddress+" unless --pty or --port is given)")
	f.StringVar(&s.pty, "pty", "", "create a pseudo terminal in a new directory, or with --pty=PATH at that path")
	f.Lookup("pty").NoOptDefVal = anywhere
	f.StringVar(&s.port, "port", "", "serial port to answer on")
	f.StringVar(&s.framing, "framing", "", "framing on connections and serial lines, rtu or ascii (default tcp with --listen, rtu on serial lines)")
	f.IntVar(&s.baud, "baud", 0, "baud rate of the serial line (default 19200 with --port, what the client sets with --pty)")
	f.StringVar(&s.parity, "parity", "even", "parity of --port: none, even or odd")
	f.BoolVar(&s.unpaced, "unpaced", false, "transfer bytes on the pseudo terminal without delay")
	_ = cmd.RegisterFlagCompletionFunc("profile", device.CompleteProfile)
	client.Offer(cmd, "framing", "rtu", "ascii")
	client.Offer(cmd, "parity", "none", "even", "odd")
	return cmd
}

const (
	simAddress = "127.0.0.1:1502"
	anywhere   = "*" // for --pty: in a new directory
)

// behaviours returns how each device behaves, from --fault.
func (s *simulation) behaviours(units []uint8) (map[uint8]sim.Behaviour, error) {
	all := map[uint8]sim.Behaviour{}
	for _, u := range units {
		all[u] = sim.Behaviour{Seed: s.seed}
	}
	for _, text := range s.faults {
		hit, fault := units, text
		if who, what, some := strings.Cut(text, ":"); some {
			var err error
			if hit, err = device.ParseUnits(who, 255); err != nil {
				return nil, fmt.Errorf("--fault %s: %w", text, err)
			}
			fault = what
		}
		for _, u := range hit {
			b, ok := all[u]
			if !ok {
				return nil, exit.Usage("--fault %s: unit %d does not exist: --units is %s", text, u, device.UnitsText(units))
			}
			b, err := sim.ParseFault(b, fault)
			if err != nil {
				return nil, exit.Usage("--fault %s: %v", text, err)
			}
			all[u] = b
		}
	}
	return all, nil
}

// run simulates until ctx ends.
func (s *simulation) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	plant, lives, err := s.build()
	if err != nil {
		return err
	}
	ways, err := s.open()
	if err != nil {
		return err
	}
	defer func() {
		for _, w := range ways {
			w.close()
		}
	}()
	s.tell(ways)
	ended := make(chan error, len(ways))
	for _, w := range ways {
		go func() { ended <- w.serve(ctx, plant) }()
	}
	go s.live(ctx, lives)
	for range ways {
		if failed := <-ended; failed != nil && err == nil {
			err = failed
			cancel()
		}
	}
	return err
}
