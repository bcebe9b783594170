package httpserver

import (
	"encoding/json"
	"net/http"
	"slices"

	"gatewayd/actors"
	"gatewayd/protocols/web"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
)

// healthz returns the handler that reports the health of the gateway and of the actors that are not
// well. The status is 503 only if an actor has failed: an unplugged meter is no reason to take a
// gateway out of service.
func healthz(gate actors.Gate) http.HandlerFunc {
	type sick struct {
		Path  string `json:"path"`
		State string `json:"state"`
		Cause string `json:"cause,omitempty"`
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		worst, of := 0, []sick{}
		for _, r := range gate.Reports() {
			at := slices.Index(states, r.Health.State)
			worst = max(worst, at)
			if at > 0 {
				of = append(of, sick{r.Path, r.Health.State, r.Health.Cause})
			}
		}
		w.Header().Set("Content-Type", "application/json")
		if slices.ContainsFunc(of, func(s sick) bool { return s.State == actors.Bad }) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(struct {
			State string `json:"state"`
			Of    []sick `json:"of"`
		}{states[worst], of})
	}
}

// openapi returns the handler that describes all calls possible at the moment.
func openapi(gate actors.Gate, gateway string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		text, err := schemas.OpenAPI("gateway "+gateway, "1", gate.Operations())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text)
	}
}

// catalogue returns the handler that describes all present actors and kinds.
func catalogue(gate actors.Gate) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		text, err := gate.Everything()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text)
	}
}

// states of health, best first.
var states = []string{actors.OK, actors.Starting, actors.Degraded, actors.Unreachable, actors.Quarantined, actors.Gone, actors.Bad}

// families returns the health of all actors as Prometheus metrics.
func families(all []actors.Report) []web.Family {
	of := func(name, help string, counter bool, value func(actors.Report) float64) web.Family {
		f := web.Family{Name: "gatewayd_actor_" + name, Help: help, Counter: counter, Labels: []string{"path", "kind"}}
		for _, r := range all {
			f.Samples = append(f.Samples, web.Sample{Labels: []string{r.Path, r.Health.Kind}, Value: value(r)})
		}
		return f
	}
	health := of("health", "Health of the actor: 1 for its current state.", false, func(actors.Report) float64 { return 1 })
	health.Labels = append(health.Labels, "state")
	for i, r := range all {
		health.Samples[i].Labels = append(health.Samples[i].Labels, r.Health.State)
	}
	count := func(name, help string, value func(*actorv1.Counters) uint64) web.Family {
		return of(name, help, true, func(r actors.Report) float64 { return float64(value(r.Counters)) })
	}
	return append([]web.Family{
		health,
		of("health_since_seconds", "Start of the current health state, in seconds since 1970.", false, func(r actors.Report) float64 {
			return float64(r.Health.GetSince().AsTime().UnixMilli()) / 1000
		}),
		of("lives_total", "Starts of the actor, including the first one.", true, func(r actors.Report) float64 { return float64(r.Health.Life) }),
		count("failures_total", "Failures that ended a life of the actor.", (*actorv1.Counters).GetFailures),
		count("messages_total", "Messages handled by the actor.", (*actorv1.Counters).GetHandled),
		count("messages_shed_total", "Messages refused because too many were waiting.", (*actorv1.Counters).GetShed),
		count("missed_ticks_total", "Timer ticks missed because the actor was busy.", (*actorv1.Counters).GetMissedTicks),
		count("workers_abandoned_total", "Background operations that did not return and were abandoned.", (*actorv1.Counters).GetAbandoned),
		of("messages_waiting", "Messages waiting in the mailbox.", false, func(r actors.Report) float64 { return float64(r.Counters.GetWaiting()) }),
		healed(all),
	}, methods(all)...)
}

// healed returns how often supervisors had to act on each actor, by level.
func healed(all []actors.Report) web.Family {
	f := web.Family{
		Name: "gatewayd_actor_healed_total", Help: "Recovery actions of the supervisor after failures of the actor, by level from restart to watchdog.",
		Counter: true, Labels: []string{"path", "kind", "level"},
	}
	for _, r := range all {
		for level, n := range r.Healed {
			f.Samples = append(f.Samples, web.Sample{Labels: []string{r.Path, r.Health.Kind, level}, Value: float64(n)})
		}
	}
	return f
}

// methods returns the calls of each method, through all listeners.
func methods(all []actors.Report) []web.Family {
	of := func(name, help string, value func(actors.MethodStats) float64) web.Family {
		f := web.Family{Name: "gatewayd_call" + name, Help: help, Counter: true, Labels: []string{"path", "method"}}
		for _, r := range all {
			for _, m := range r.Called {
				f.Samples = append(f.Samples, web.Sample{Labels: []string{r.Path, m.Method}, Value: value(m)})
			}
		}
		return f
	}
	return []web.Family{
		of("s_total", "Completed calls, over all interfaces.", func(m actors.MethodStats) float64 { return float64(m.Calls) }),
		of("_errors_total", "Calls that were refused or failed.", func(m actors.MethodStats) float64 { return float64(m.Errors) }),
		of("_seconds_total", "Time from the arrival of a call to its last answer.", func(m actors.MethodStats) float64 { return m.Time.Seconds() }),
	}
}
