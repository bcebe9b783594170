package mqtt

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"gatewayd/protocols/journal"
)

// ErrClosed is returned by a closed broker.
var ErrClosed = errors.New("mqtt broker is closed")

var errPanicked = errors.New("a packet made the broker panic")

// Server is a running broker. It is safe for concurrent use.
type Server struct {
	cfg         Config
	guard       *listener
	broker      *mochi.Server
	hook        *hook
	stats       counters
	sessions    *ledger
	store       *store // nil: nothing survives the process
	maintaining sync.WaitGroup
	stop        chan struct{}
	kept        kept
	audience    audience
	wills       wills
	messages    sync.Pool // of *message

	noAliases mochi.TopicAliases // shared by all clients: the library must keep none
	places    [16]sync.Mutex     // by client id: serialise the arrival and departure of a client id

	begun   time.Time
	yielded atomic.Int64 // when a publish last yielded, see now
	closing atomic.Bool
	once    sync.Once
	done    chan struct{}
}

// Start listens and serves. The error names the address and the cause.
func Start(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("mqtt broker on %s: %w", cfg.Listen, err)
	}
	var all []*entrance
	for _, d := range append([]Door{{Listen: cfg.Listen}}, cfg.Doors...) {
		e, err := d.open(cfg.TLS)
		if err != nil {
			shutAll(all)
			return nil, err
		}
		all = append(all, e)
	}
	s, err := run(all, cfg)
	if err != nil {
		shutAll(all)
		return nil, fmt.Errorf("mqtt broker on %s: %w", cfg.Listen, err)
	}
	return s, nil
}

func shutAll(all []*entrance) {
	for _, e := range all {
		_ = e.Close()
	}
}

// run runs a broker with a checked configuration on open listeners.
func run(open []*entrance, cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, sessions: newLedger(), begun: time.Now(), done: make(chan struct{}), stop: make(chan struct{})}
	s.guard = newListener(open, cfg, &s.stats)
	s.guard.host = s
	s.kept.all = make(map[string]keptMessage)
	s.wills.all = make(map[string]*lastWord)
	s.broker = mochi.New(options(cfg))
	s.noAliases = mochi.NewTopicAliases(0)
	s.hook = &hook{Server: s}
	if err := s.broker.AddHook(s.hook, nil); err != nil {
		return nil, err
	}
	if err := s.broker.AddListener(s.guard); err != nil {
		return nil, err
	}
	s.openStore()
	s.restore()
	s.maintaining.Go(s.maintain)
	// Not Serve: the library's own periodic work copies its client table twice a second, which with
	// thousands of idle clients is most of the garbage collector's work, and it ends sessions by
	// the wall clock. maintain does what is needed of it.
	s.broker.Listeners.ServeAll(s.broker.EstablishConnection)
	return s, nil
}

// storeTime is how long closing the store may take when the broker is abandoned.
const storeTime = time.Second

// now returns the time since the broker started, in ns; steps of the clock do not affect it.
func (s *Server) now() int64 { return int64(time.Since(s.begun)) | 1 }

// openStore opens the store. The broker works even if it cannot be opened; the error shows in
// Stats.
func (s *Server) openStore() {
	if s.cfg.Store == "" {
		return
	}
	j, lost, err := journal.Open(s.cfg.Store, s.cfg.MaxStore)
	if lost != nil || err != nil {
		s.cfg.Log.Error("mqtt: stored sessions and retained messages", "lost", lost, "err", err)
	}
	s.store = &store{j}
}

// maintain does the periodic work: it ends expired sessions and retained messages, and writes the
// store to disk.
func (s *Server) maintain() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			s.expire()
			if s.store != nil {
				_ = s.store.Maintain() // an error shows in Stats
			}
		}
	}
}

func (s *Server) expire() {
	defer s.recovered("expiry")
	for _, id := range s.sessions.queues() {
		if cl, ok := s.broker.Clients.Get(id); ok {
			cl.ClearExpiredInflights(time.Now().Unix(), 0)
		}
	}
	var away []*mochi.Client
	// More than those connected; finding the others needs a copy of the whole table.
	if n := s.broker.Clients.Len(); n > len(s.broker.Clients.GetByListener(listenerID)) {
		away = s.absent()
	}
	for _, cl := range away {
		left := connOf(cl).left.Load()
		if left > 0 && time.Duration(s.now()-left) > s.expiryOf(cl) {
			s.discard(cl)
		}
	}
	for _, topic := range s.kept.purge(time.Now()) {
		s.sessions.retain(topic, false, 0)
		s.store.drop(keyRetained + topic)
	}
}

func (s *Server) expiryOf(cl *mochi.Client) time.Duration {
	if cl.Properties.ProtocolVersion == 5 {
		return time.Duration(cl.Properties.Props.SessionExpiryInterval) * time.Second
	}
	return s.cfg.SessionExpiry
}

func options(cfg Config) *mochi.Options {
	caps := mochi.NewDefaultServerCapabilities()
	caps.MaximumClients = math.MaxInt64 // the listener counts
	// Otherwise retained messages expire by the wall clock, all at once when it steps.
	caps.MaximumMessageExpiryInterval = 0
	caps.MaximumClientWritesPending = 0                // not used, and nothing reads from it
	caps.MaximumSessionExpiryInterval = math.MaxUint32 // maintain does it, and not by the wall clock
	caps.MaximumPacketSize = uint32(cfg.MaxPacket)
	caps.ReceiveMaximum = uint16(min(max(1024, cfg.MaxQueued+64), math.MaxUint16))
	caps.MaximumInflight = uint16(cfg.MaxQueued)
	caps.TopicAliasMaximum = 0 // the library checks access before it resolves an alias
	caps.Compatibilities.NoInheritedPropertiesOnAck = true
	// Process ends the clients that the library refuses.
	caps.Compatibilities.PassiveClientDisconnect = true
	return &mochi.Options{
		Capabilities:             caps,
		ClientNetReadBufferSize:  16, // the socket has a buffer while there is data in it
		ClientNetWriteBufferSize: 1024,
		// It logs whole packets with their payloads.
		Logger:                 slog.New(slog.DiscardHandler),
		SysTopicResendInterval: 60, // each stops the world to measure it
	}
}

// Addr returns the address of the first listener.
func (s *Server) Addr() net.Addr { return s.guard.open[0].Addr() }

// Doors returns the addresses of the other listeners, in the order of Config.
func (s *Server) Doors() []net.Addr {
	var all []net.Addr
	for _, e := range s.guard.open[1:] {
		all = append(all, e.Addr())
	}
	return all
}

// Retained returns the retained messages of topics that match a filter.
func (s *Server) Retained(filter string) []Publish {
	var all []Publish
	for _, topic := range s.kept.topics(filter) {
		if pk, ok := s.kept.packet(topic); ok {
			all = append(all, publishOf(&pk))
		}
	}
	return all
}

// Absent returns the clients that are away and whose sessions are kept.
func (s *Server) Absent() []ClientInfo {
	var all []ClientInfo
	for _, cl := range s.absent() {
		all = append(all, connOf(cl).info)
	}
	return all
}

// Disconnect ends the connection and the stored session of every client for which match returns
// true, and returns their number.
func (s *Server) Disconnect(match func(ClientInfo) bool) (n int) {
	for _, cl := range s.broker.Clients.GetAll() {
		c := connOf(cl)
		if c == nil || !match(c.info) {
			continue
		}
		n++
		s.hangUp(cl, packets.ErrAdministrativeAction)
		s.discard(cl)
	}
	return n
}

// hangUp disconnects a client in the way its version provides.
func (s *Server) hangUp(cl *mochi.Client, code packets.Code) {
	if cl.Properties.ProtocolVersion == 5 {
		_ = s.broker.DisconnectClient(cl, code)
	}
	cl.Stop(code)
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	c := &s.stats
	all, away := s.broker.Clients.Len(), len(s.absent())
	var stored error
	if s.store != nil {
		stored = s.store.Err()
	}
	return Stats{
		Store:       stored,
		Connections: len(s.guard.clients()), Clients: all - away, Sessions: away,
		Retained: s.kept.len(), Subscriptions: int(atomic.LoadInt64(&s.broker.Info.Subscriptions)),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(), Writes: c.writes.Load(),
		MessagesIn: c.messagesIn.Load(), MessagesOut: c.messagesOut.Load(),
		Dropped: c.dropped.Load(), Slow: c.slow.Load(), Panics: c.panics.Load(), Rejected: c.rejected.Load(),
		Strangers: c.strangers.Load(), Denied: c.denied.Load(), AcceptErrors: c.acceptErrors.Load(),
	}
}

func (s *Server) mayWrite(c ClientInfo, topic string) bool {
	return checkTopic(topic) == nil && !brokerOwned(topic) && s.cfg.Authorize(c, topic, true)
}

func (s *Server) mayRead(c ClientInfo, topic string) bool {
	return topic != "" && s.cfg.Authorize(c, unshare(topic), false)
}

func (s *Server) mayReply(c ClientInfo, topic string) bool {
	return !s.cfg.Intercept(topic) && s.mayWrite(c, topic)
}

// place returns the lock for changes to one client id.
func (s *Server) place(id string) *sync.Mutex {
	return &s.places[maphash.String(spread, id)%uint64(len(s.places))]
}

// spread distributes client ids among the locks.
var spread = maphash.MakeSeed()

func (s *Server) expirySeconds() uint32 { return uint32(s.cfg.SessionExpiry / time.Second) }

// tell reports a session event and recovers from a panic of the callback.
func (s *Server) tell(e SessionEvent) {
	defer s.recovered("session callback")
	if s.cfg.OnSession != nil {
		s.cfg.OnSession(e)
	}
}

func (s *Server) panicked(what string, p any) {
	s.stats.panics.Add(1)
	s.cfg.Log.Error("mqtt: recovered a panic", "in", what, "panic", p, "stack", string(debug.Stack()))
}

func (s *Server) recovered(what string) {
	if p := recover(); p != nil {
		s.panicked(what, p)
	}
}

func (s *Server) recoveredInto(what string, err *error) {
	if p := recover(); p != nil {
		s.panicked(what, p)
		*err = fmt.Errorf("mqtt %s: recovered a panic: %v", what, p)
	}
}
