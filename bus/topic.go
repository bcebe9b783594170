package bus

import (
	"fmt"
	"strings"
)

// Topic returns the MQTT topic of a subject: the part after gw.<gateway>., with '/' instead of '.'.
// ok is false if subject is not a gateway subject.
func Topic(subject string) (topic string, ok bool) {
	rest, ok := strings.CutPrefix(subject, "gw.")
	if !ok {
		return "", false
	}
	_, rest, ok = strings.Cut(rest, ".")
	if !ok || rest == "" {
		return "", false
	}
	return strings.ReplaceAll(rest, ".", "/"), true
}

// FromTopic returns the concrete subject of an MQTT topic on gateway. It refuses wildcards and
// every byte that has another meaning in a NATS subject.
func FromTopic(gateway, topic string) (string, error) {
	s, err := convert(gateway, topic, func(tok string, _ bool) (string, error) { return plain(tok) })
	if err != nil {
		return "", fmt.Errorf("topic %q: %w", topic, err)
	}
	return s, nil
}

// ParseCommand parses the topic of a call: cmd/<path>/<Method>.
func ParseCommand(topic string) (path, method string, err error) {
	rest, ok := strings.CutPrefix(topic, string(Cmd)+"/")
	i := strings.LastIndexByte(rest, '/')
	if !ok || i < 0 {
		return "", "", fmt.Errorf("topic %q: want %s/PATH/METHOD", topic, Cmd)
	}
	path, method = rest[:i], rest[i+1:]
	if err := CheckName(path); err != nil {
		return "", "", fmt.Errorf("topic %q: %w", topic, err)
	}
	if err := CheckLeaf(method); err != nil {
		return "", "", fmt.Errorf("topic %q: %w", topic, err)
	}
	return path, method, nil
}

// Pattern returns the NATS pattern of an MQTT-style filter on gateway. '+' or '*' stands for one
// token, a final '#' or '>' for one or more. (In MQTT "a/#" also matches "a"; no subject of a
// gateway ends at a class or path, so the difference does not matter.)
//
//	Pattern("demo", "data/field/>") → gw.demo.data.field.>
//	Pattern("demo", "#")            → gw.demo.>
func Pattern(gateway, filter string) (string, error) {
	s, err := convert(gateway, filter, func(tok string, last bool) (string, error) {
		switch tok {
		case "+", "*":
			return "*", nil
		case "#", ">":
			if !last {
				return "", fmt.Errorf("%q is only allowed at the end", tok)
			}
			return ">", nil
		}
		return plain(tok)
	})
	if err != nil {
		return "", fmt.Errorf("filter %q: %w", filter, err)
	}
	return s, nil
}

// Match reports whether a concrete subject matches a NATS pattern.
func Match(pattern, subject string) bool {
	for {
		p, prest, pmore := strings.Cut(pattern, ".")
		s, srest, smore := strings.Cut(subject, ".")
		switch {
		case p == ">":
			return s != ""
		case p != "*" && p != s, pmore != smore:
			return false
		case !pmore:
			return true
		}
		pattern, subject = prest, srest
	}
}

func convert(gateway, topic string, token func(string, bool) (string, error)) (string, error) {
	if err := CheckGateway(gateway); err != nil {
		return "", err
	}
	if len(topic) > maxName+2*maxToken {
		return "", fmt.Errorf("%d bytes are too long", len(topic))
	}
	var b strings.Builder
	b.WriteString("gw." + gateway)
	parts := strings.Split(topic, "/")
	for i, p := range parts {
		t, err := token(p, i == len(parts)-1)
		if err != nil {
			return "", err
		}
		if i == 0 && t != "*" && t != ">" && !Class(t).known() {
			return "", fmt.Errorf("%q is not a class: data, event, state, cmd, track or trace", t)
		}
		b.WriteString("." + t)
	}
	return b.String(), nil
}

func plain(tok string) (string, error) {
	if tok == "" {
		return "", fmt.Errorf("empty token (a leading, trailing or double '/')")
	}
	for i := range len(tok) {
		if !leafByte(tok[i]) {
			return "", fmt.Errorf("token %q: %q is not a letter, digit, '-' or '_'", tok, tok[i])
		}
	}
	return tok, nil
}
