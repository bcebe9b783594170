package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// attackFlag runs this process as an attacker of a broker on this machine; it prints the outcome.
const attackFlag = "--attack"

const (
	attackSpan  = 6 * time.Second
	attackCrowd = 10_000
	attackTLS   = 5_000
	attackHands = 32 // concurrent actions
)

// victim is the broker under attack, by its ports on loopback.
type victim struct{ plain, secure int }

var attacks = map[string]func(victim) (said string, err error){
	"idle": idleSockets, "tls": secureCrowd, "lengths": tallLengths, "broken": brokenPackets, "readers": slowReaders,
	"descriptors": comers, "theft": thefts, "wills": forbiddenWills, "sys": foreignTopics, "alias": aliasGames,
}

func attack(args []string) error {
	plain, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	secure, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	f, ok := attacks[args[0]]
	if !ok {
		return fmt.Errorf("there is no attack %q", args[0])
	}
	said, err := f(victim{plain, secure})
	fmt.Println(said)
	return err
}

func (v victim) dial() (net.Conn, error) {
	return net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(v.plain), 5*time.Second)
}

// descriptors returns how many file descriptors this process may have.
func descriptors() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<20))
}

// idleSockets connects and sends nothing. The broker must close all these connections.
func idleSockets(v victim) (string, error) {
	n := min(attackCrowd, descriptors()-100)
	var all []net.Conn
	for range n {
		c, err := v.dial()
		if err != nil {
			return "", err
		}
		all = append(all, c)
	}
	left := 0
	for deadline := time.Now().Add(4 * attackSpan); len(all) > 0; all = all[1:] {
		_ = all[0].SetReadDeadline(deadline)
		var ne net.Error
		if _, err := all[0].Read(make([]byte, 1)); errors.As(err, &ne) && ne.Timeout() {
			left++
		}
		_ = all[0].Close()
	}
	if left > 0 {
		return "", fmt.Errorf("%d of %d are still open", left, n)
	}
	return fmt.Sprintf("%d came (of %d descriptors), all were closed", n, descriptors()), nil
}

// secureCrowd connects many clients by TLS, which stay for a while.
func secureCrowd(v victim) (string, error) {
	n := min(attackTLS, descriptors()-100)
	all, begin := make([]*mqttPeer, n), time.Now()
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} // the identity of the broker does not matter here
	var again atomic.Int64
	err := hands(n, func(i int) error {
		for try := 0; ; try++ {
			c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(v.secure))
			if err == nil {
				all[i], err = greetMQTT(tls.Client(c, cfg), mqttLogin{id: fmt.Sprintf("tls-%05d", i)})
			}
			if err == nil || try == 3 {
				return err
			}
			again.Add(1)
		}
	})
	if err != nil {
		return "", err
	}
	took := time.Since(begin)
	time.Sleep(attackSpan)
	err = hands(n, func(i int) error {
		defer all[i].Close()
		if err := all[i].subscribe("room/tls", 0); err != nil {
			return fmt.Errorf("after %s: %w", attackSpan, err)
		}
		return nil
	})
	return fmt.Sprintf("%d came in within %.0f s and were served; %d times one came again", n, took.Seconds(), again.Load()), err
}

// hands calls do for 0 to n-1, attackHands at a time.
func hands(n int, do func(i int) error) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, attackHands)
	for k := range attackHands {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[k] == nil; i = int(next.Add(1)) - 1 {
				errs[k] = do(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// forAWhile repeats do for a span, several at a time, and returns how often.
func forAWhile(span time.Duration, do func() error) (int64, error) {
	var n atomic.Int64
	begin := time.Now()
	err := hands(attackHands, func(int) error {
		for time.Since(begin) < span {
			if err := do(); err != nil {
				return err
			}
			n.Add(1)
		}
		return nil
	})
	return n.Load(), err
}

// ends waits until the broker has closed a connection.
func ends(c net.Conn) error {
	_ = c.SetReadDeadline(time.Now().Add(15 * time.Second))
	_, err := io.Copy(io.Discard, c)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return errors.New("the broker does not close the connection")
	}
	return nil
}

// tallLengths sends packets that claim a length of 256 MB, as the first packet and later.
func tallLengths(v victim) (string, error) {
	n, err := forAWhile(attackSpan, func() error {
		c, err := v.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		if rand.IntN(2) == 0 {
			_, _ = c.Write([]byte{0x10, 0xff, 0xff, 0xff, 0x7f, 0, 4, 'M', 'Q'})
			return ends(c)
		}
		p, err := greetMQTT(c, mqttLogin{id: fmt.Sprintf("tall-%d", rand.IntN(1e9))})
		if err != nil {
			return err
		}
		_, _ = p.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f, 0, 4, 'r', 'o', 'o', 'm'})
		return ends(c)
	})
	return fmt.Sprintf("%d packets", n), err
}

// brokenPackets sends packets that are truncated, altered or random.
func brokenPackets(v victim) (string, error) {
	whole := []string{
		"\x82\x0c\x00\x01\x00\x00\x06room/a\x00", "\x30\x0a\x00\x06room/abc", "\x62\x02\x00\x01", "\x40\x02\x00\x01", "\xc0\x00",
		"\xa2\x0a\x00\x01\x00\x06room/a", "\x34\x0c\x00\x06room/a\x00\x01hi", "\xe0\x02\x00\x00", "\xf0\x02\x18\x00",
	}
	n, err := forAWhile(attackSpan, func() error {
		c, err := v.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		p, err := greetMQTT(c, mqttLogin{id: fmt.Sprintf("broken-%d", rand.IntN(1e9))})
		if err != nil {
			return err
		}
		b := []byte(whole[rand.IntN(len(whole))])
		for range 1 + rand.IntN(4) {
			b[rand.IntN(len(b))] = byte(rand.Uint32())
		}
		if rand.IntN(4) == 0 {
			for i := range b {
				b[i] = byte(rand.Uint32())
			}
		}
		_, _ = p.Write(b[:1+rand.IntN(len(b))])
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.CloseWrite()
		}
		return ends(c)
	})
	return fmt.Sprintf("%d packets", n), err
}

// slowReaders subscribe to large messages and do not read them.
func slowReaders(v victim) (string, error) {
	const readers = 100
	var all []*mqttPeer
	for i := range readers {
		p, err := dialMQTT(v.plain, mqttLogin{id: fmt.Sprintf("reader-%d", i)})
		if err == nil {
			_ = p.Conn.(*net.TCPConn).SetReadBuffer(4096)
			err = p.subscribe("room/loud", byte(i%2))
		}
		if err != nil {
			return "", err
		}
		defer p.Close()
		all = append(all, p)
	}
	speaker, err := dialMQTT(v.plain, mqttLogin{id: "speaker"})
	if err != nil {
		return "", err
	}
	defer speaker.Close()
	said, begin := 0, time.Now()
	for payload := strings.Repeat("x", 100_000); time.Since(begin) < attackSpan; said++ {
		if err := speaker.send(0x30, mqttText("room/loud")+payload); err != nil {
			return "", err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Sprintf("%d who do not read, %d messages of 100 kB", len(all), said), nil
}

// comers connect continuously. They must be admitted again when there are free file descriptors.
func comers(v victim) (string, error) {
	time.Sleep(500 * time.Millisecond)
	var in, out int
	for begin := time.Now(); time.Since(begin) < tortureStarve+attackSpan; time.Sleep(20 * time.Millisecond) {
		c, err := v.dial()
		if err != nil {
			return "", err
		}
		_ = c.SetDeadline(time.Now().Add(300 * time.Millisecond))
		p, err := comes(c, fmt.Sprintf("comer-%d", rand.IntN(1e9)))
		if err == nil {
			_, _ = p.Write([]byte{0xe0, 0})
			in++
		} else if out++; time.Since(begin) > tortureStarve+attackSpan/2 {
			return "", fmt.Errorf("nobody is let in although there is room again: %w", err)
		}
		_ = c.Close()
	}
	if out == 0 {
		return "", errors.New("there was room all the time: nothing was tried")
	}
	return fmt.Sprintf("%d were not let in, then %d were", out, in), nil
}

// comes is greetMQTT with a short deadline, which the caller sets.
func comes(c net.Conn, id string) (*mqttPeer, error) {
	p := newPeer(c)
	if err := p.send(0x10, mqttLogin{id: id}.connect()); err != nil {
		return nil, err
	}
	_, _, err := p.packet()
	return p, err
}

// thefts connects with the client id of another client, and guesses its password.
func thefts(v victim) (string, error) {
	var guesses atomic.Int64
	n, err := forAWhile(attackSpan, func() error {
		as := mqttLogin{id: "anna"}
		if guesses.Add(1)%50 == 0 { // a wrong password is slow to check, on purpose
			as.name, as.password = "anna", "guess"
		}
		p, err := dialMQTT(v.plain, as)
		if err == nil {
			_ = p.Close()
			return errors.New("came in as anna")
		}
		return nil
	})
	return fmt.Sprintf("%d tries", n), err
}

func forbiddenWills(v victim) (string, error) {
	places := []string{"data/field/meter/points", "cmd/access/Revoke", "$SYS/broker/version", "state/x/health", "event/x/y", "reply/anna/1", "a/+/b"}
	n, err := forAWhile(attackSpan, func() error {
		where := places[rand.IntN(len(places))]
		p, err := dialMQTT(v.plain, mqttLogin{id: fmt.Sprintf("will-%d", rand.IntN(1e9)), will: where})
		if err == nil {
			_ = p.Close()
			return fmt.Errorf("may leave its will on %s", where)
		}
		return nil
	})
	return fmt.Sprintf("%d wills, none was taken", n), err
}

// foreignTopics publishes on topics reserved for the gateway, and checks that no such message gets
// through.
func foreignTopics(v victim) (string, error) {
	ear, err := dialMQTT(v.plain, mqttLogin{id: "ear"})
	if err != nil {
		return "", err
	}
	defer ear.Close()
	for _, filter := range []string{"data/#", "$SYS/#"} { // retained messages follow the acknowledgement
		if err := ear.subscribe(filter, 0); err != nil {
			return "", err
		}
	}
	heard := make(chan error, 1)
	go func() {
		for {
			typ, body, err := ear.packet()
			if err != nil {
				heard <- nil
				return
			}
			if typ>>4 == 3 && strings.Contains(string(body), "pwned") {
				heard <- fmt.Errorf("a client has said %q", body)
				return
			}
		}
	}()
	n, err := forAWhile(attackSpan, func() error {
		p, err := dialMQTT(v.plain, mqttLogin{id: fmt.Sprintf("sys-%d", rand.IntN(1e9))})
		if err != nil {
			return err
		}
		defer p.Close()
		for i, topic := range []string{"$SYS/broker/version", "$SYS/x", "data/field/meter/points", "state/mqtt/health", "event/x/y"} {
			if err := p.send([]byte{0x31, 0x33}[i%2], mqttText(topic)+[]string{"", "\x00\x07"}[i%2]+"pwned"); err != nil {
				return nil // disconnected, as it should be
			}
		}
		_ = p.send(0xc0, "")
		_, _, _ = p.packet()
		return nil
	})
	_ = ear.Close()
	return fmt.Sprintf("%d clients", n), errors.Join(err, <-heard)
}

// aliasGames publishes with topic aliases of MQTT 5 that are invalid or were never set.
func aliasGames(v victim) (string, error) {
	n, err := forAWhile(attackSpan, func() error {
		c, err := v.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		p := newPeer(c)
		id := fmt.Sprintf("alias-%d", rand.IntN(1e9))
		if err := p.send(0x10, mqttText("MQTT")+"\x05\x02\x00\x00\x00"+mqttText(id)); err != nil {
			return err
		}
		if _, _, err := p.packet(); err != nil {
			return err
		}
		alias := []string{"\x00\x00", "\x00\x01", "\xff\xff"}[rand.IntN(3)]
		topic := []string{"", "room/a", "data/x"}[rand.IntN(3)]
		_ = p.send(0x30, mqttText(topic)+"\x03\x23"+alias+"pwned")
		return ends(c)
	})
	return fmt.Sprintf("%d publishes, each the last of its client", n), err
}
