package mqtt

import "testing"

// A will waits for its delay or for the end of its session, whichever comes first, and is not sent
// if the client resumes its session before (MQTT 5 §3.1.2.5).
func TestADelayedWillGoesWithItsSession(t *testing.T) {
	kept := hello{id: "me", ver: 5, keep: true, will: "me/gone", last: []byte{0x18, 0, 0, 14, 16}, props: []byte{0x11, 0, 0, 14, 16}}
	clean := kept
	clean.keep = false
	for name, c := range map[string]struct {
		then func(s *Server, p *peer, away chan struct{})
		sent bool
	}{
		"back in its session": {func(s *Server, p *peer, away chan struct{}) {
			_ = p.Close()
			<-away
			join(t, s, kept)
		}, false},
		"back, and anew": {func(s *Server, p *peer, away chan struct{}) {
			_ = p.Close()
			<-away
			join(t, s, clean)
		}, true},
		"taken over": {func(s *Server, _ *peer, away chan struct{}) {
			join(t, s, kept)
			<-away
		}, false},
		"taken over, and anew": {func(s *Server, _ *peer, away chan struct{}) {
			join(t, s, clean)
			<-away
		}, true},
		"the session is ended while it is away": {func(s *Server, p *peer, away chan struct{}) {
			_ = p.Close()
			<-away
			s.Disconnect(func(ci ClientInfo) bool { return ci.ID == "me" })
		}, true},
		"it ends its session and wants the will": {func(_ *Server, p *peer, away chan struct{}) {
			p.send(frame(0xe0, []byte{4, 5, 0x11, 0, 0, 0, 0}))
			<-away
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			away := make(chan struct{}, 2)
			s := start(t, Config{Authorize: func(ClientInfo, string, bool) bool { return true }, OnSession: func(e SessionEvent) {
				if e.Client.ID == "me" && e.Kind == SessionDisconnected {
					away <- struct{}{}
				}
			}})
			watch := join(t, s, hello{id: "watch", ver: 5})
			watch.subscribe("me/#", 0)
			c.then(s, join(t, s, kept), away)
			if err := s.Publish("me/end", []byte("x"), false, Properties{}); err != nil {
				t.Fatal(err)
			}
			want := "me/end"
			if c.sent {
				want = "me/gone"
			}
			if topic, _, _ := watch.message(); topic != want {
				t.Errorf("heard %s, want %s", topic, want)
			}
		})
	}
}
