package tr50

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// command is one command of an envelope.
type command struct {
	Command string `json:"command"`
	Params  any    `json:"params,omitempty"`

	items []item // the items that it publishes
}

// response is the reply to one command.
type response struct {
	Success  *bool           `json:"success"`
	Codes    []int           `json:"errorCodes"`
	Messages []string        `json:"errorMessages"`
	Params   json.RawMessage `json:"params"`
}

// failure returns why a command was not carried out; empty if it was.
func (r response) failure() string {
	switch {
	case *r.Success:
		return ""
	case len(r.Messages) > 0 && len(r.Codes) > 0:
		return fmt.Sprintf("%s (%d)", strings.Join(r.Messages, "; "), r.Codes[0])
	case len(r.Messages) > 0:
		return strings.Join(r.Messages, "; ")
	case len(r.Codes) > 0:
		return fmt.Sprintf("error %d", r.Codes[0])
	}
	return "no reason is given"
}

// key returns the key of the nth command in its envelope.
func key(n int) string { return strconv.Itoa(n + 1) }

// envelope encodes commands as one message.
func envelope(commands []command) ([]byte, error) {
	all := make(map[string]command, len(commands))
	for i, c := range commands {
		all[key(i)] = c
	}
	return json.Marshal(all)
}

// responses decodes the replies to n commands, in order. All must be present.
func responses(payload []byte, n int) ([]response, error) {
	var all map[string]*response
	if err := json.Unmarshal(payload, &all); err != nil {
		return nil, fmt.Errorf("the reply is not a JSON object of replies: %w", err)
	}
	sorted := make([]response, n)
	for i := range sorted {
		r := all[key(i)]
		if r == nil || r.Success == nil {
			return nil, errors.New("the reply does not contain the outcome of every command")
		}
		sorted[i] = *r
	}
	return sorted, nil
}

// Limits of records per batch command and of commands per envelope: together about 50 kB.
const (
	maxOfBatch    = 50
	maxOfEnvelope = 10
)

// batches returns the commands that publish items, those of one kind in order. There is no batch
// command for log lines.
func batches(items []item) []command {
	var all []command
	open := map[string]int{} // per kind, the command that has room left
	for _, x := range items {
		at, is := open[x.kind]
		if !is || x.kind == "log" || len(all[at].items) >= maxOfBatch {
			at = len(all)
			open[x.kind] = at
			all = append(all, command{})
		}
		all[at].items = append(all[at].items, x)
	}
	for i := range all {
		all[i].complete()
	}
	return all
}

// singles publishes each item by itself, which shows which of them are refused.
func singles(items []item) []command {
	all := make([]command, len(items))
	for i, x := range items {
		all[i].items = []item{x}
		all[i].complete()
	}
	return all
}

func (c *command) complete() {
	kind := c.items[0].kind
	if len(c.items) == 1 {
		c.Command, c.Params = kind+".publish", c.items[0].params
		return
	}
	data := make([]any, len(c.items))
	for i, x := range c.items {
		data[i] = x.params
	}
	c.Command, c.Params = kind+".batch", map[string]any{"data": data}
}

// mail is a message in the mailbox.
type mail struct {
	ID      string `json:"id"`
	Command string `json:"command"`
	Params  struct {
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	} `json:"params"`
}

func letters(params json.RawMessage) ([]mail, error) {
	var box struct {
		Messages []mail `json:"messages"`
	}
	if len(params) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(params, &box); err != nil {
		return nil, fmt.Errorf("invalid mailbox: %w", err)
	}
	return box.Messages, nil
}

// Result codes of methods, as used by Wind River's clients.
const (
	success     = 0
	badRequest  = 3
	failed      = 4
	notFound    = 12
	unsupported = 18
)
