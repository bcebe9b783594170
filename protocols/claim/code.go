// Package claim is how the first operator of a gateway gets his certificate from another machine: by a code that the gateway shows to
// whoever can see its console, and that is good once, for a while.
//
// The gateway's certificate proves nothing yet, and a code that is sent is a code that somebody between the two has. So neither side sends it:
// within TLS 1.3 each proves that it knows the code for this very connection (RFC 9266 binds to it), and whoever stands between two connections
// can prove neither. Of the operator travel the hash of his password and the public half of a key that he has made himself.
//
// Each message is a JSON object, framed by its length in four bytes, the highest first:
//
//	operator: {"proof": …}                                HMAC-SHA256(code, "operator" ‖ exporter)
//	gateway:  {"proof": …} or {"error": …}                HMAC-SHA256(code, "gateway" ‖ exporter)
//	operator: an Order
//	gateway:  Papers, or {"error": …}
//	operator: {"kept": true}                              he has the papers on his disk
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

// alphabet has no letters that look like digits (Crockford's base 32).
func alphabet() *base32.Encoding {
	return base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)
}

const (
	codeBytes = 10 // 80 random bits: nobody guesses them, on the wire or at home with what he has recorded
	group     = 4
)

// NewCode makes a code like "K7QM-2XRD-91TB-ZH4C".
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

// secret is a code however somebody has typed it.
func secret(code string) []byte {
	return []byte(strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(code)))
}

// IsCode tells whether a text can be a code, so that a slip is found before anybody is asked.
func IsCode(code string) bool {
	s := string(secret(code))
	b, err := alphabet().DecodeString(s)
	return err == nil && len(b) == codeBytes && alphabet().EncodeToString(b) == s
}

// exporter tells one connection from all others.
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
