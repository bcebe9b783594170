// Package claim is the protocol by which the first operator of a gateway gets a certificate from
// another machine, with a code that the gateway shows on its console. The code is valid once, for a
// limited time.
//
// The gateway's certificate proves nothing yet, and a code that is sent can be intercepted. So
// neither side sends it. Within TLS 1.3 each side proves that it knows the code for this very
// connection (channel binding as in RFC 9266); a man in the middle, who has two connections, cannot
// prove that for either. The operator sends the hash of the password, and the public half of a key
// generated on the operator's machine.
//
// Each message is a JSON object, preceded by its length in four bytes, big-endian:
//
//	operator: {"proof": …}                   HMAC-SHA256(code, "operator" ‖ exporter)
//	gateway:  {"proof": …} or {"error": …}   HMAC-SHA256(code, "gateway" ‖ exporter)
//	operator: a Request
//	gateway:  Response, or {"error": …}
//	operator: {"kept": true}                 the papers are on the operator's disk
//	gateway:  {"claimed": true} or {"error": …}
package claim

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base32"
	"strings"
)

// alphabet returns an encoding without letters that look like digits (Crockford's base 32).
func alphabet() *base32.Encoding {
	return base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)
}

const (
	codeBytes = 10 // 80 random bits cannot be guessed, neither online nor offline from a recording
	group     = 4
)

// NewCode returns a code like "K7QM-2XRD-91TB-ZH4C".
func NewCode() string {
	var b [codeBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	s := alphabet().EncodeToString(b[:])
	var out []string
	for ; len(s) > group; s = s[group:] {
		out = append(out, s[:group])
	}
	return strings.Join(append(out, s), "-")
}

// secret normalises a code as typed by a user.
func secret(code string) []byte {
	return []byte(strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(code)))
}

// IsCode reports whether a text can be a code, so that typing errors are found before connecting.
func IsCode(code string) bool {
	s := string(secret(code))
	b, err := alphabet().DecodeString(s)
	return err == nil && len(b) == codeBytes && alphabet().EncodeToString(b) == s
}

// exporter returns a value that is unique to the connection.
func exporter(s tls.ConnectionState) ([]byte, error) {
	return s.ExportKeyingMaterial("EXPORTER-gatewayd-claim", nil, sha256.Size)
}

func proof(code, who string, bound []byte) []byte {
	h := hmac.New(sha256.New, secret(code))
	h.Write([]byte(who))
	h.Write(bound)
	return h.Sum(nil)
}

const (
	asOperator = "operator"
	asGateway  = "gateway"
)
