package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Cost of a password hash: the minimum that OWASP's Password Storage Cheat Sheet recommends for
// Argon2id, in its variant with the least memory.
const (
	hashTime   = 5
	hashMemory = 7168 // KiB
	hashLanes  = 1
	hashBytes  = 32
	saltBytes  = 16
)

// Limits for the parameters of a hash from elsewhere.
const (
	maxTime   = 32
	maxMemory = 64 << 10 // KiB
	maxLanes  = 8
)

var base64Bare = base64.RawStdEncoding

// hash is a stored password: Argon2id in PHC string format.
type hash struct {
	time, memory uint32
	lanes        uint8
	salt, sum    []byte
}

// Hash returns a password as it is stored: "$argon2id$v=19$m=7168,t=5,p=1$<salt>$<hash>" (RFC 9106,
// PHC string format).
func Hash(password []byte) string {
	h := hash{time: hashTime, memory: hashMemory, lanes: hashLanes, salt: make([]byte, saltBytes)}
	_, _ = rand.Read(h.salt) // never fails
	h.sum = h.of(password)
	return h.String()
}

func (h hash) of(password []byte) []byte {
	n := uint32(len(h.sum))
	if n == 0 {
		n = hashBytes
	}
	return argon2.IDKey(password, h.salt, h.time, h.memory, h.lanes, n)
}

// String returns the hash in PHC string format.
func (h hash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.lanes,
		base64Bare.EncodeToString(h.salt), base64Bare.EncodeToString(h.sum))
}

var errHash = errors.New("password: want a hash like $argon2id$v=19$m=7168,t=5,p=1$…$…, as \"gatewayd access hash\" makes it")

func parseHash(s string) (h hash, err error) {
	part := strings.Split(s, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" || part[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, errHash
	}
	if n, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.lanes); n != 3 || err != nil {
		return h, errHash
	}
	var bad [2]error
	h.salt, bad[0] = base64Bare.DecodeString(part[4])
	h.sum, bad[1] = base64Bare.DecodeString(part[5])
	switch {
	case errors.Join(bad[:]...) != nil, len(h.salt) < 8, len(h.sum) < 16, len(h.sum) > 64:
		return h, errHash
	case h.time < 1 || h.time > maxTime || h.memory < 8 || h.memory > maxMemory || h.lanes < 1 || h.lanes > maxLanes:
		return h, fmt.Errorf("password: its hash has m=%d,t=%d,p=%d; allowed are at most m=%d,t=%d,p=%d",
			h.memory, h.time, h.lanes, maxMemory, maxTime, maxLanes)
	}
	return h, nil
}

// Verify reports whether stored is the hash of password. It needs the memory that the hash names; a
// gateway should run one at a time, see Door.
func Verify(stored string, password []byte) (bool, error) {
	h, err := parseHash(stored)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(h.of(password), h.sum) == 1, nil
}

// dummyHash is the hash that is checked for a name that does not exist.
const dummyHash = "$argon2id$v=19$m=7168,t=5,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// NewToken returns a new bearer token with 256 random bits.
func NewToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return "gwt_" + base64.RawURLEncoding.EncodeToString(b[:])
}

// Digest returns a token as it is stored. A token is random, so it needs no slow hash.
func Digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func checkDigest(s string) error {
	digits, ok := strings.CutPrefix(s, "sha256:")
	if b, err := hex.DecodeString(digits); !ok || err != nil || len(b) != sha256.Size || digits != strings.ToLower(digits) {
		return errors.New(`token: want "sha256:" and 64 hexadecimal digits, as "gatewayd access token" makes it`)
	}
	return nil
}

// checkKey returns an error unless s is a public NATS user key: base32 of a prefix byte, 32 bytes
// and their CRC-16/XMODEM, low byte first (github.com/nats-io/nkeys).
func checkKey(s string) error {
	const user = 20 << 3 // makes it begin with U
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(s)
	if err != nil || len(b) != 35 || b[0] != user || crc16(b[:33]) != binary.LittleEndian.Uint16(b[33:]) {
		return fmt.Errorf("key %q: want the public half of a NATS user key, U and 55 more, as \"gatewayd access key\" makes it", s)
	}
	return nil
}

func crc16(p []byte) uint16 {
	var crc uint16
	for _, c := range p {
		crc ^= uint16(c) << 8
		for range 8 {
			carry := crc>>15 == 1
			if crc <<= 1; carry {
				crc ^= 0x1021
			}
		}
	}
	return crc
}

// namesOf returns the names in a certificate, each with its kind.
func namesOf(c *x509.Certificate) []string {
	var all []string
	if c.Subject.CommonName != "" {
		all = append(all, "CN:"+c.Subject.CommonName)
	}
	for _, n := range c.DNSNames {
		all = append(all, "DNS:"+n)
	}
	for _, n := range c.EmailAddresses {
		all = append(all, "EMAIL:"+n)
	}
	for _, u := range c.URIs {
		all = append(all, "URI:"+u.String())
	}
	return all
}
