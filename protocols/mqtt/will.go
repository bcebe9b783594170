package mqtt

import (
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// wills are the last words that wait for their delay (MQTT 5 §3.1.3.2.2).
type wills struct {
	mu     sync.Mutex
	timers map[string]*time.Timer // by client id; nil once stopped
}

// after runs send after d unless the client comes back; false when no more may wait.
func (w *wills) after(id string, d time.Duration, most int, send func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timers == nil || len(w.timers) >= most {
		return false
	}
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		w.mu.Lock()
		mine := w.timers[id] == t
		if mine {
			delete(w.timers, id)
		}
		w.mu.Unlock()
		if mine {
			send()
		}
	})
	if old := w.timers[id]; old != nil {
		old.Stop()
	}
	w.timers[id] = t
	return true
}

func (w *wills) cancel(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.timers[id]; t != nil {
		t.Stop()
		delete(w.timers, id)
	}
}

func (w *wills) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.timers {
		t.Stop()
	}
	w.timers = nil
}

// leaveWill sends the will of a client that did not say goodbye, now or after its delay.
func (s *Server) leaveWill(cl *mochi.Client, c *conn) {
	will := cl.Properties.Will
	send := func() { s.sendWill(c.info, will) }
	d := time.Duration(will.WillDelayInterval) * time.Second
	if d > 0 && !c.replaced.Load() && s.wills.after(cl.ID, d, s.cfg.MaxSessions, send) {
		return
	}
	if d > 0 && c.replaced.Load() {
		return // the session goes on
	}
	send()
}

func (s *Server) sendWill(c ClientInfo, will mochi.Will) {
	defer s.recovered("will")
	if !s.mayLeave(c, will.TopicName) {
		return // what was allowed at CONNECT may not be any more
	}
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Qos: will.Qos, Retain: will.Retain},
		TopicName:   will.TopicName, Payload: will.Payload, Origin: c.ID,
		Properties: packets.Properties{User: will.User},
	}
	s.fanout(&message{pk: &pk}, s.keepRetained(&pk))
	s.passed(c, &pk)
}

// mayLeave says whether a will may go to topic: what may be written but is no command, since nobody would get the answer.
func (s *Server) mayLeave(c ClientInfo, topic string) (ok bool) {
	defer s.recovered("authorize")
	return s.mayWrite(c, topic) && !s.cfg.Intercept(topic)
}
