package claim

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Request is the operator's request.
type Request struct {
	Operator string `json:"operator"` // name of the operator
	// Argon2id hash, for listeners where the operator uses no certificate.
	Password string `json:"password"`
	Request  []byte `json:"request"` // PKCS #10 certificate request, signed by the operator's key
	// Names and addresses by which the operator reaches the gateway.
	Hosts []string  `json:"hosts,omitempty"`
	Open  bool      `json:"open,omitempty"` // listeners on loopback are to listen on all addresses
	Time  time.Time `json:"time"`           // by the operator's clock
}

// Response is what the operator receives.
type Response struct {
	CA          []byte `json:"ca"`          // PEM, for clients to trust
	Certificate []byte `json:"certificate"` // PEM, the operator's and the authority's
	// Where the gateway listens from then on, like "bus 0.0.0.0:4222".
	Doors []string `json:"doors,omitempty"`
}

type shown struct {
	Proof []byte `json:"proof,omitempty"`
	Error string `json:"error,omitempty"`
}

type answer struct {
	Response
	Error string `json:"error,omitempty"`
}

type word struct {
	Kept    bool   `json:"kept,omitempty"`
	Claimed bool   `json:"claimed,omitempty"`
	Error   string `json:"error,omitempty"`
}

// most is the largest size of a message in bytes.
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
		return fmt.Errorf("a message of %d bytes exceeds the limit of %d", n, most)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return err
	}
	return json.Unmarshal(text, m)
}
