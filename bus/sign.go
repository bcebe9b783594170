package bus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"gatewayd/protocols/durable"
)

// Sign creates a credentials file for a user of an account at a hub: a JWT with the permissions of
// g, signed with the account's seed, and the user's key. A key that is already in the file is kept.
// With leaf the user may connect only as a leaf node.
func Sign(account, file, name string, g Grant, leaf bool) error {
	text, err := os.ReadFile(account)
	if err != nil {
		return err
	}
	signer, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return fmt.Errorf("%s: %w", account, err)
	}
	user, err := keyOf(file)
	if err != nil {
		return err
	}
	public, err := user.PublicKey()
	if err != nil {
		return err
	}
	claims := jwt.NewUserClaims(public)
	claims.Name = name
	claims.Pub.Allow, claims.Sub.Allow = g.Publish, g.Subscribe
	if leaf {
		claims.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeLeafnode}
	}
	if prefix, err := signer.PublicKey(); err != nil || !nkeys.IsValidPublicAccountKey(prefix) {
		return fmt.Errorf("%s is not the seed of an account, which begins with SA", account)
	}
	token, err := claims.Encode(signer)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	seed, err := user.Seed()
	if err != nil {
		return err
	}
	creds, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return durable.Write(file, creds, 0o600)
}

// keyOf returns the user key in a credentials file, or a new one if the file does not exist.
func keyOf(file string) (nkeys.KeyPair, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nkeys.CreateUser()
	}
	if err != nil {
		return nil, err
	}
	user, err := nkeys.ParseDecoratedUserNKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return user, nil
}
