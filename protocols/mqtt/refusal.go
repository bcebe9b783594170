package mqtt

import (
	"errors"
	"io"
	"net"

	"github.com/mochi-mqtt/server/v2/packets"

	"gatewayd/protocols/access"
)

// Reasons of an access.Refusal that only a broker has.
const (
	RefusedClientID    = "client-id"   // the client id belongs to another identity, or is invalid
	RefusedWill        = "will"        // the client may not publish its will there
	RefusedReader      = "reader"      // the client does not read what it has subscribed to
	RefusedBusy        = "busy"        // the broker could not accept it
	RefusedDescriptors = "descriptors" // the process had no file descriptor for it
)

func (l *listener) refused(r access.Refusal) {
	if l.cfg.OnRefused != nil {
		l.cfg.OnRefused(r)
	}
}

// refused reports something that a client was refused.
func (c *conn) refused(reason string, cause error) {
	r := access.Refusal{Reason: reason, Client: c.info.ID, Cause: cause.Error(), Remote: remoteOf(c.Conn)}
	if c.info.Identity != nil {
		r.Identity = c.info.Identity.Name
	}
	c.guard.refused(r)
}

func remoteOf(c net.Conn) string {
	if a := c.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// turnedAway returns the reason for a CONNECT that was answered with a code.
func turnedAway(code packets.Code) string {
	switch code {
	case packets.ErrBadUsernameOrPassword, packets.ErrBadAuthenticationMethod:
		return access.RefusedCredentials
	case packets.ErrClientIdentifierNotValid:
		return RefusedClientID
	case packets.ErrNotAuthorized:
		return RefusedWill
	case packets.ErrServerBusy, packets.ErrServerUnavailable:
		return RefusedBusy
	}
	return access.RefusedPacket
}

// ended returns the reason for which a connection ended by itself; empty: it was no refusal.
func (c *conn) ended(err error) string {
	var code packets.Code
	switch {
	case err == nil, c.judged:
	case !c.ready.Load():
		if c.seen == 0 && errors.Is(err, io.EOF) { // a check whether the port is open
			return ""
		}
		return access.RefusedStranger
	case errors.Is(err, errPanicked), errors.As(err, &code) && code.Code >= 0x80:
		return access.RefusedPacket
	}
	return ""
}
