package access

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/claimdoor"
	"gatewayd/cmd/gatewayd/files"
	claiming "gatewayd/protocols/claim"
	"gatewayd/protocols/pki"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	webv1 "gatewayd/schemas/web/v1"
	"gatewayd/supervisor/config"
)

// Owned is a gateway that runs from a config file. Its claim-door writes the operator into that
// file.
type Owned struct {
	kinds      files.Kinds // with claimdoor.Kind as it is, by which nothing can be claimed
	file, data string
	Claimed    chan struct{} // receives when somebody has claimed the gateway
}

// Own returns the Owned for a gateway with these kinds, this config file and this data directory.
func Own(kinds files.Kinds, file, data string) Owned {
	return Owned{kinds, file, data, make(chan struct{}, 1)}
}

var _ claimdoor.Owner = Owned{}

// Claimable returns the kinds of the gateway, with a claim-door by which this one can be claimed.
func (o Owned) Claimable() []actors.Kind {
	all := slices.Clone(o.kinds)
	all[slices.IndexFunc(all, func(k actors.Kind) bool { return k.Name == claimdoor.Kind.Name })] = claimdoor.For(o)
	return all
}

// Again implements claimdoor.Owner.
func (o Owned) Again() {
	select {
	case o.Claimed <- struct{}{}:
	default:
	}
}

// Prepare implements claimdoor.Owner.
func (o Owned) Prepare(order claiming.Request) (p claiming.Response, keep func() error, err error) {
	if !regexp.MustCompile(`^[a-z0-9-]{1,63}$`).MatchString(order.Operator) || order.Operator == "gateway" || order.Operator == "ca" {
		return p, nil, fmt.Errorf("operator %q: want lower-case letters, digits and '-', and neither \"ca\" nor \"gateway\"", order.Operator)
	}
	c := &claim{kinds: o.kinds, file: o.file, data: o.data, operator: order.Operator, hosts: hostsOf(order.Hosts), open: order.Open}
	p.Certificate, keep, err = c.prepare(order.Password, func(a *pki.Authority, to pki.CertificateRequest) ([]byte, error) {
		if p.CA, err = os.ReadFile(a.File("ca.crt")); err != nil {
			return nil, err
		}
		return a.Certify(to, order.Request, time.Now())
	})
	p.Doors = c.doors
	return p, keep, err
}

// hostsOf returns the hosts the operator has named, then those of this machine, without duplicates.
func hostsOf(his []string) []string {
	var all []string
	for _, h := range append(slices.Clone(his), here()...) {
		if h != "" && !slices.Contains(all, h) {
			all = append(all, h)
		}
	}
	return all
}

// doorsOf returns the addresses on which a gateway listens, as "KIND ADDRESS".
func doorsOf(tree *config.Tree) (all []string) {
	tree.Walk(func(n *config.Node) {
		var at []string
		switch m := n.Config.(type) {
		case *gatewayv1.Bus:
			at = append(at, m.Listen)
		case *mqttv1.Broker:
			at = append(at, m.Listen)
			for _, d := range m.Doors {
				at = append(at, d.Listen)
			}
		case *webv1.Server:
			at = append(at, m.Listen)
		}
		for _, listen := range at {
			if listen != "" {
				all = append(all, n.Kind+" "+listen)
			}
		}
	})
	return all
}
