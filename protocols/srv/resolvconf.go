package srv

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// conf is the relevant part of a resolv.conf (man 5 resolv.conf).
type conf struct {
	servers  []netip.Addr
	timeout  time.Duration // for one answer
	attempts int           // rounds through all servers
	tcp      bool          // option use-vc
}

const (
	systemFile = "/etc/resolv.conf"
	maxServers = 8
	maxBytes   = 64 << 10 // of the file
)

// begin reads the present content of the file.
func (r Resolver) begin() (*asking, error) {
	name := r.File
	if name == "" {
		name = systemFile
	}
	text, err := read(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("name servers: %w", err)
	}
	c := parseConf(text)
	if len(c.servers) == 0 {
		return nil, fmt.Errorf("%w in %s", ErrNoNameserver, name)
	}
	port := r.Port
	if port == 0 {
		port = 53
	}
	a := &asking{timeout: c.timeout, attempts: c.attempts, tcp: c.tcp}
	for _, s := range c.servers {
		a.servers = append(a.servers, netip.AddrPortFrom(s, port))
	}
	return a, nil
}

func read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxBytes))
}

// parseConf ignores what it does not understand, as resolvers do.
func parseConf(text []byte) conf {
	c := conf{timeout: 5 * time.Second, attempts: 2}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(words[1]); err == nil && len(c.servers) < maxServers {
				c.servers = append(c.servers, a)
			}
		case "options":
			for _, w := range words[1:] {
				c.option(w)
			}
		}
	}
	return c
}

func (c *conf) option(word string) {
	name, value, _ := strings.Cut(word, ":")
	n, err := strconv.Atoi(value)
	switch {
	case name == "use-vc" || name == "usevc" || name == "tcp":
		c.tcp = true
	case err != nil:
	case name == "timeout":
		c.timeout = time.Duration(min(max(n, 1), 30)) * time.Second
	case name == "attempts":
		c.attempts = min(max(n, 1), 5)
	}
}
