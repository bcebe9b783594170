package bus

import (
	"fmt"
	"strings"
)

// Topic is the MQTT topic of a subject: what follows gw.<gateway>., with '/' for '.'.
// ok is false when subject is not one of ours.
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

// FromTopic is the concrete subject of an MQTT topic on gateway. It refuses
// wildcards and every byte that would mean something else on the other side.
func FromTopic(gateway, topic string) (string, error) {
	s, err := convert(gateway, topic, func(tok string, _ bool) (string, error) { return plain(tok) })
	if err != nil {
		return "", fmt.Errorf("topic %q: %w", topic, err)
	}
	return s, nil
}

// ParseCommand takes the topic of a call apart: cmd/<path>/<Method>.
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

// Pattern is the NATS pattern of an MQTT style filter on gateway. '+' or '*'
// stand for one token, a final '#' or '>' for one or more. (An MQTT broker lets "a/#" match
// "a" as well; no subject of ours ends at a class or path, so nothing is lost.)
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

// Match reports whether a concrete subject falls under a NATS pattern.
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
