package bus

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"
)

// Service describes one actor as standard NATS micro tooling lists it.
type Service struct {
	Name        string // the kind: [A-Za-z0-9_-]
	ID          string // the actor path
	Version     string // semantic version
	Description string
	Metadata    map[string]string
	Started     time.Time
	Endpoints   []Endpoint
}

// Endpoint is one method of a service.
type Endpoint struct {
	Name     string
	Subject  string
	Metadata map[string]string // request and response message names, for instance
	Stats    EndpointStats
}

// EndpointStats holds counters since the service started.
type EndpointStats struct {
	Requests  int
	Errors    int
	LastError string
	Time      time.Duration // spent in all requests together
}

// ServeCatalogue answers $SRV.PING, $SRV.INFO and $SRV.STATS, each also with .<name> and
// .<name>.<id>, from the services that all yields at that moment: one answer per service, in the
// format of nats.go/micro. It runs until stop or Close; all is called from one goroutine at a time.
func (b *Bus) ServeCatalogue(all func() iter.Seq[Service]) (stop func(), err error) {
	stop, err = b.conn.Subscribe("$SRV.>", func(m Msg) { catalogue(m, all) })
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	return stop, nil
}

func catalogue(m Msg, all func() iter.Seq[Service]) {
	if m.answerable() != nil {
		return
	}
	// An actor path contains no dot, so the id is the last token.
	tok := strings.SplitN(m.Subject, ".", 4)
	for s := range all() {
		if len(tok) > 2 && tok[2] != s.Name || len(tok) > 3 && tok[3] != s.ID {
			continue
		}
		if v := answerFor(tok[1], s); v != nil {
			if p, err := json.Marshal(v); err == nil {
				_ = m.conn.PublishRaw(m.Reply, JSON, p)
			}
		}
	}
}

func answerFor(verb string, s Service) any {
	id := micro.ServiceIdentity{Name: s.Name, ID: s.ID, Version: s.Version, Metadata: s.Metadata}
	if id.Metadata == nil {
		id.Metadata = map[string]string{}
	}
	switch verb {
	case "PING":
		return micro.Ping{ServiceIdentity: id, Type: micro.PingResponseType}
	case "INFO":
		info := micro.Info{ServiceIdentity: id, Type: micro.InfoResponseType, Description: s.Description, Endpoints: []micro.EndpointInfo{}}
		for _, e := range s.Endpoints {
			info.Endpoints = append(info.Endpoints, micro.EndpointInfo{Name: e.Name, Subject: e.Subject, Metadata: e.Metadata})
		}
		return info
	case "STATS":
		stats := micro.Stats{ServiceIdentity: id, Type: micro.StatsResponseType, Started: s.Started.UTC(), Endpoints: []*micro.EndpointStats{}}
		for _, e := range s.Endpoints {
			stats.Endpoints = append(stats.Endpoints, statsOf(e))
		}
		return stats
	}
	return nil
}

func statsOf(e Endpoint) *micro.EndpointStats {
	s := &micro.EndpointStats{
		Name: e.Name, Subject: e.Subject, NumRequests: e.Stats.Requests, NumErrors: e.Stats.Errors,
		LastError: e.Stats.LastError, ProcessingTime: e.Stats.Time,
	}
	if s.NumRequests > 0 {
		s.AverageProcessingTime = s.ProcessingTime / time.Duration(s.NumRequests)
	}
	return s
}
