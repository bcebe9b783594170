package standin

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/protocols/mdi"
	"gatewayd/protocols/record"
	"gatewayd/protocols/tlsfiles"
)

// sink holds the flags and streams of mdi-sink.
type sink struct {
	listen    string
	tls       bool
	files     tlsfiles.Files
	commands  bool
	state     string
	window    int
	in        io.Reader
	out, text io.Writer
	mu        sync.Mutex // guards out: records and answers are whole lines
}

const sinkAddress = "127.0.0.1:5001"

// SinkCommand returns "mdi-sink", which receives what uplink-mdi sends.
func SinkCommand() *cobra.Command {
	s := &sink{}
	cmd := &cobra.Command{
		Use:   "mdi-sink",
		Short: "Receive records from compact uplinks of gateways (uplink-mdi)",
		Long: `Receive records of uplink-mdi until interrupted: the remote end for tests, and the
reference for one that you write. Every record is printed on standard output as a
line of JSON, and acknowledged once it has been written there. No record is
printed twice, also after lost connections and restarts of the gateway, as long
as this command runs; with --state also after its own restarts (a crash in the
middle of a batch may print that batch again). Connecting and disconnecting
gateways are reported on standard error.

With --commands each line of standard input is a command for a connected gateway:
the gateway, the actor, the method and, optionally, the request. The outcome is
printed as a line like those of the records.

With --ca, gateways must present a certificate that is issued for their name.`,
		Example: `  gatewayd mdi-sink --listen :5001 --tls --cert sink.pem --key sink.key --ca fleet.pem
  echo 'site-17 field/plc/mixer WriteRegisters {"address":10,"values":[42]}' | gatewayd mdi-sink --commands`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.in, s.out, s.text = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			return s.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.listen, "listen", sinkAddress, "host:port to listen on; port 0 for any free one")
	f.BoolVar(&s.tls, "tls", false, "use TLS (needs --cert and --key)")
	f.StringVar(&s.files.Certificate, "cert", "", "certificate with its chain (PEM file)")
	f.StringVar(&s.files.Key, "key", "", "private key of that certificate (PEM file)")
	f.StringVar(&s.files.CA, "ca", "", "CA certificates that verify the gateways (PEM file; default none, gateways need no certificate)")
	f.BoolVar(&s.commands, "commands", false, "read commands for gateways from standard input")
	f.StringVar(&s.state, "state", "", "file that remembers which records were received (default none)")
	f.IntVar(&s.window, "window", 8, "number of batches that a gateway may have in flight, 1 to 64")
	return cmd
}

func (s *sink) run(ctx context.Context) error {
	if s.window < 1 || s.window > 64 {
		return exit.Usage("--window %d: want 1 to 64", s.window)
	}
	if !s.tls && s.files != (tlsfiles.Files{}) {
		return exit.Usage("--cert, --key and --ca need --tls")
	}
	l, err := net.Listen("tcp", s.listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use: choose another with --listen", s.listen)
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.listen, err)
	}
	scheme := "tcp"
	if s.tls {
		scheme = "tls"
		s.files.Required = s.files.CA != ""
		cfg, err := s.files.Config(func(err error) { s.notice(err.Error()) })
		if err != nil {
			_ = l.Close()
			return err
		}
		l = tls.NewListener(l, cfg)
	}
	cfg := mdi.SinkConfig{Window: s.window, Take: s.take, Outcome: s.outcome, Notice: s.notice, Named: s.files.CA != ""}
	var seen []mdi.Seen
	if s.state != "" {
		var state *sinkState
		if state, seen, err = openSinkState(s.state); err != nil {
			_ = l.Close()
			return err
		}
		cfg.Remember = state.remember
	}
	end := mdi.NewSink(cfg)
	end.Recall(seen)
	s.notice("listens on " + scheme + "://" + l.Addr().String())
	if s.commands {
		go s.command(end)
	}
	return end.Serve(ctx, l)
}

func (s *sink) notice(text string) { fmt.Fprintln(s.text, text) }

// taken is the printed form of a record.
type taken struct {
	Gateway  string         `json:"gateway"`
	Track    string         `json:"track"`
	Number   uint32         `json:"number"`
	Sequence uint64         `json:"sequence"`
	Time     time.Time      `json:"time"`
	Clock    string         `json:"clock,omitempty"` // "unsure" if the time is not to be trusted
	Boot     string         `json:"boot,omitempty"`
	Uptime   string         `json:"uptime"`
	Absent   bool           `json:"absent,omitempty"`
	Cause    string         `json:"cause,omitempty"`
	Fields   map[string]any `json:"fields,omitempty"`
	Units    any            `json:"units,omitempty"`
	Quality  any            `json:"quality,omitempty"` // of fields whose quality is not good
}

// take prints records of one gateway.
func (s *sink) take(gateway string, all []record.Record) (map[int]string, error) {
	var lines []byte
	for _, r := range all {
		line, err := json.Marshal(printed(gateway, r))
		if err != nil {
			return nil, fmt.Errorf("record %d of %s: %w", r.Sequence, r.Track, err)
		}
		lines = append(append(lines, line...), '\n')
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.out.Write(lines)
	return nil, err
}

func printed(gateway string, r record.Record) taken {
	t := taken{
		Gateway: gateway, Track: r.Track, Number: r.Number, Sequence: r.Sequence, Time: r.Time, Boot: r.Boot, Uptime: r.Uptime.String(),
		Absent: r.Absent, Cause: r.Cause, Fields: map[string]any{},
	}
	if !r.Trusted {
		t.Clock = "unsure"
	}
	units, quality := map[string]string{}, map[string]string{}
	for _, f := range r.Fields {
		t.Fields[f.Name] = f.Value
		if x, ok := f.Value.(float64); ok && (math.IsNaN(x) || math.IsInf(x, 0)) {
			t.Fields[f.Name] = fmt.Sprint(x)
		}
		if f.Unit != "" {
			units[f.Name] = f.Unit
		}
		if f.Quality != "" || f.Cause != "" {
			quality[f.Name] = strings.TrimSuffix(f.Quality+": "+f.Cause, ": ")
		}
	}
	if len(units) > 0 {
		t.Units = units
	}
	if len(quality) > 0 {
		t.Quality = quality
	}
	return t
}

// outcome prints the outcome of a command.
func (s *sink) outcome(gateway string, id uint32, payload []byte, failed string) {
	line := map[string]any{"gateway": gateway, "command": id}
	switch {
	case failed != "":
		line["failed"] = failed
	case json.Valid(payload):
		line["answer"] = json.RawMessage(payload)
	default:
		line["answer"] = string(payload)
	}
	b, err := json.Marshal(line)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.out, string(b))
}

// command reads commands until the input ends.
func (s *sink) command(end *mdi.Sink) {
	for lines := bufio.NewScanner(s.in); lines.Scan(); {
		words := strings.SplitN(strings.TrimSpace(lines.Text()), " ", 4)
		if len(words) < 3 {
			fmt.Fprintln(s.text, "want: gateway actor method [request]")
			continue
		}
		var request []byte
		if len(words) == 4 {
			request = []byte(words[3])
		}
		id, err := end.Command(words[0], words[1], words[2], request)
		if err != nil {
			fmt.Fprintln(s.text, "not sent:", err)
			continue
		}
		fmt.Fprintf(s.text, "command %d sent to %s\n", id, words[0])
	}
}
