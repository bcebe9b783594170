package schemas_test

import (
	"testing"

	"gatewayd/schemas"
)

func TestExposed(t *testing.T) {
	for listen, want := range map[string]bool{
		"127.0.0.1:1883": false, "127.1.2.3:0": false, "[::1]:1883": false, "localhost:1883": false, "[::ffff:127.0.0.1]:1": false,
		":1883": true, "0.0.0.0:1883": true, "[::]:1883": true, "192.168.1.5:1883": true, "example.com:1883": true, "nonsense": true,
	} {
		if got := schemas.Exposed(listen); got != want {
			t.Errorf("%s: %v, want %v", listen, got, want)
		}
	}
}

func TestClaimsClash(t *testing.T) {
	tcp := func(name string) schemas.Claim { return schemas.Claim{Network: "tcp", Name: name} }
	device := func(name string) schemas.Claim { return schemas.Claim{Name: name} }
	for name, c := range map[string]struct {
		a, b schemas.Claim
		want bool
	}{
		"the same":           {tcp("127.0.0.1:502"), tcp("127.0.0.1:502"), true},
		"another port":       {tcp("127.0.0.1:502"), tcp("127.0.0.1:503"), false},
		"another address":    {tcp("127.0.0.1:502"), tcp("127.0.0.2:502"), false},
		"all addresses":      {tcp("127.0.0.1:502"), tcp(":502"), true},
		"all of version 6":   {tcp("[::]:502"), tcp("10.0.0.1:502"), true},
		"two spellings":      {tcp("localhost:502"), tcp("127.0.0.1:0502"), true},
		"mapped":             {tcp("[::ffff:10.0.0.1]:502"), tcp("10.0.0.1:502"), true},
		"any that is free":   {tcp("127.0.0.1:0"), tcp("127.0.0.1:0"), false},
		"another network":    {tcp("127.0.0.1:502"), schemas.Claim{Network: "udp", Name: "127.0.0.1:502"}, false},
		"one device":         {device("/dev/ttyUSB0"), device("/dev/./ttyUSB0"), true},
		"two devices":        {device("/dev/ttyUSB0"), device("/dev/ttyUSB1"), false},
		"no address at all":  {tcp("502"), tcp("502"), false},
		"a port and a place": {tcp("127.0.0.1:502"), device("127.0.0.1:502"), false},
	} {
		if c.a.Clashes(c.b) != c.want || c.b.Clashes(c.a) != c.want {
			t.Errorf("%s: want %v", name, c.want)
		}
	}
}
