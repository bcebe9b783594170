package httpserver

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gatewayd/actors"
)

// healthz says in one word how the gateway is, and of whom it does not go well. It is 503 when somebody has failed: an unplugged meter
// is no reason to take a gateway out of service.
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

// states of health, best first.
var states = []string{actors.OK, actors.Starting, actors.Degraded, actors.Unreachable, actors.Quarantined, actors.Gone, actors.Bad}

// metrics shows how everybody is to Prometheus.
func metrics(gate actors.Gate) http.HandlerFunc {
	all := prometheus.NewRegistry()
	all.MustRegister(census{gate}) // a wrong description is found by every test
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{}).ServeHTTP
}

// census collects what is known of every actor at the moment it is asked.
type census struct{ gate actors.Gate }

func described(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("gatewayd_actor_"+name, help, append([]string{"path", "kind"}, labels...), nil)
}

var (
	health    = described("health", "1 for the state the actor is in.", "state")
	since     = described("health_since_seconds", "When that state began, seconds since 1970.")
	lives     = described("lives_total", "Lives it has begun; each but the first is a restart.")
	failures  = described("failures_total", "Lives ended by a failure.")
	handled   = described("messages_total", "Messages handled.")
	shed      = described("messages_shed_total", "Messages refused because too many were waiting.")
	missed    = described("missed_ticks_total", "Ticks of its own clock that it was too busy for.")
	abandoned = described("workers_abandoned_total", "Workers that did not return and were left behind.")
	waiting   = described("messages_waiting", "Messages waiting now.")
)

// Describe implements prometheus.Collector.
func (census) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{health, since, lives, failures, handled, shed, missed, abandoned, waiting} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s census) Collect(out chan<- prometheus.Metric) {
	for _, r := range s.gate.Reports() {
		say := func(d *prometheus.Desc, typ prometheus.ValueType, v float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, typ, v, append([]string{r.Path, r.Health.Kind}, labels...)...)
		}
		say(health, prometheus.GaugeValue, 1, r.Health.State)
		if r.Health.Since != nil {
			say(since, prometheus.GaugeValue, float64(r.Health.Since.AsTime().UnixMilli())/1000)
		}
		say(lives, prometheus.CounterValue, float64(r.Health.Life))
		say(failures, prometheus.CounterValue, float64(r.Counters.Failures))
		say(handled, prometheus.CounterValue, float64(r.Counters.Handled))
		say(shed, prometheus.CounterValue, float64(r.Counters.Shed))
		say(missed, prometheus.CounterValue, float64(r.Counters.MissedTicks))
		say(abandoned, prometheus.CounterValue, float64(r.Counters.Abandoned))
		say(waiting, prometheus.GaugeValue, float64(r.Counters.Waiting))
	}
}
