package claim

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Order is what an operator asks for.
type Order struct {
	Operator string    `json:"operator"`        // his name
	Password string    `json:"password"`        // Argon2id hash, for doors where he shows no certificate
	Request  []byte    `json:"request"`         // PKCS #10 certificate request, signed by his key
	Hosts    []string  `json:"hosts,omitempty"` // names and addresses by which he reaches the gateway
	Open     bool      `json:"open,omitempty"`  // doors that listen on the gateway alone are to listen to all
	Time     time.Time `json:"time"`            // by his clock
}

// Papers are what he gets.
type Papers struct {
	CA          []byte   `json:"ca"`              // PEM, for clients to trust
	Certificate []byte   `json:"certificate"`     // PEM, his, and the authority's
	Doors       []string `json:"doors,omitempty"` // where the gateway listens from then on, like "bus 0.0.0.0:4222"
}

type shown struct {
	Proof []byte `json:"proof,omitempty"`
	Error string `json:"error,omitempty"`
}

type answer struct {
	Papers
	Error string `json:"error,omitempty"`
}

type word struct {
	Kept    bool   `json:"kept,omitempty"`
	Claimed bool   `json:"claimed,omitempty"`
	Error   string `json:"error,omitempty"`
}

// most is how many bytes a message may have.
const most = 64 << 10

func write(w io.Writer, m any) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	return err
}

func read(r io.Reader, m any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > most {
		return fmt.Errorf("a message of %d bytes, at most %d are taken", n, most)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return err
	}
	return json.Unmarshal(text, m)
}
