package mqtt

import (
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// wills are the wills waiting for their delay (MQTT 5 §3.1.3.2.2).
type wills struct {
	mu  sync.Mutex
	all map[string]*lastWord // by client id; nil once stopped
}

type lastWord struct {
	timer *time.Timer
	send  func()
}

// after runs send after d unless take is called before. It returns false if most wills are waiting
// already.
func (w *wills) after(id string, d time.Duration, most int, send func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil || len(w.all) >= most {
		return false
	}
	if old := w.all[id]; old != nil {
		old.timer.Stop()
	}
	word := &lastWord{send: send}
	word.timer = time.AfterFunc(d, func() {
		w.mu.Lock()
		mine := w.all[id] == word
		if mine {
			delete(w.all, id)
		}
		w.mu.Unlock()
		if mine {
			send()
		}
	})
	w.all[id] = word
	return true
}

// take removes and returns the waiting will of a client; nil: there is none.
func (w *wills) take(id string) (send func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	word := w.all[id]
	if word == nil {
		return nil
	}
	word.timer.Stop()
	delete(w.all, id)
	return word.send
}

func (w *wills) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, word := range w.all {
		word.timer.Stop()
	}
	w.all = nil
}

// tellWill sends the will that waits for the end of a session, which is over (MQTT 5 §3.1.2.5).
func (s *Server) tellWill(id string) {
	if send := s.wills.take(id); send != nil {
		send()
	}
}

// leaveWill sends the will of a client that has ended without a DISCONNECT, now or after its delay.
func (s *Server) leaveWill(cl *mochi.Client, c *conn) {
	will := cl.Properties.Will
	send := func() { s.sendWill(c.info, will) }
	d := time.Duration(will.WillDelayInterval) * time.Second
	switch {
	case d == 0 || c.afresh.Load() || endsWithConnection(cl):
		send()
	case c.replaced.Load(): // the session continues
	case !s.wills.after(cl.ID, min(d, s.expiryOf(cl)), s.cfg.MaxSessions, send):
		send()
	case c.afresh.Load(): // the session has ended in the meantime
		s.tellWill(cl.ID)
	case c.replaced.Load():
		s.wills.take(cl.ID)
	}
}

func (s *Server) sendWill(c ClientInfo, will mochi.Will) {
	defer s.recovered("will")
	if !s.mayLeave(c, will.TopicName) {
		return // the permission may have been withdrawn since CONNECT
	}
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Qos: will.Qos, Retain: will.Retain},
		TopicName:   will.TopicName, Payload: will.Payload, Origin: c.ID,
		Properties: packets.Properties{User: will.User},
	}
	s.fanout(&message{pk: &pk}, s.keepRetained(&pk))
	s.passed(c, &pk)
}

// mayLeave reports whether a will may be sent to topic. It must be writable and no command, since
// nobody would get the answer.
func (s *Server) mayLeave(c ClientInfo, topic string) (ok bool) {
	defer s.recovered("authorize")
	return s.mayWrite(c, topic) && !s.cfg.Intercept(topic)
}
