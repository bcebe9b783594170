package srv

import (
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// answered returns a message as seed for the fuzzer and for tests.
func answered(tb testing.TB, h dnsmessage.Header, name string, kind dnsmessage.Type, answers, extra []dnsmessage.Resource) []byte {
	tb.Helper()
	q, err := question(name, kind)
	if err != nil {
		tb.Fatal(err)
	}
	h.Response = true
	m := dnsmessage.Message{Header: h, Questions: []dnsmessage.Question{q}, Answers: answers, Additionals: extra}
	msg, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	return msg
}

func owner(name string) dnsmessage.ResourceHeader {
	return dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: 60}
}

func FuzzParse(f *testing.F) {
	const name = "_mdi._tcp.example.com"
	to := func(host string, port uint16) dnsmessage.Resource {
		return dnsmessage.Resource{Header: owner("x.example.com."), Body: &dnsmessage.SRVResource{Port: port, Target: dnsmessage.MustNewName(host)}}
	}
	alias := dnsmessage.Resource{Header: owner(name + "."), Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("x.example.com.")}}
	addr := dnsmessage.Resource{Header: owner("a.example.com."), Body: &dnsmessage.AResource{A: [4]byte{10, 0, 0, 1}}}
	f.Add(answered(f, dnsmessage.Header{ID: 7}, name, dnsmessage.TypeSRV, []dnsmessage.Resource{alias, to("a.example.com.", 5), to("b.", 6)}, []dnsmessage.Resource{addr}))
	f.Add(answered(f, dnsmessage.Header{ID: 7, RCode: dnsmessage.RCodeNameError}, name, dnsmessage.TypeSRV, nil, nil))
	f.Add(answered(f, dnsmessage.Header{ID: 7, Truncated: true}, name, dnsmessage.TypeSRV, nil, nil))
	f.Fuzz(func(t *testing.T, msg []byte) {
		got, err := parse(msg, 7, name, dnsmessage.TypeSRV)
		if err != nil {
			return
		}
		if len(got.targets) > len(msg)/19 || len(got.addrs) > 0 || msg[0] != 0 || msg[1] != 7 || msg[2]&0x80 == 0 {
			t.Errorf("%x: %+v", msg, got)
		}
		for _, all := range got.extra {
			if len(all) > maxAddrs {
				t.Errorf("%d addresses of one host", len(all))
			}
		}
	})
}

func FuzzConf(f *testing.F) {
	f.Add([]byte("# modem\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\noptions timeout:1 attempts:3 use-vc\nsearch lan\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := parseConf(text)
		if len(c.servers) > maxServers || c.timeout <= 0 || c.timeout.Seconds() > 30 || c.attempts < 1 || c.attempts > 5 {
			t.Errorf("%q: %+v", text, c)
		}
	})
}
