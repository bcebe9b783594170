package web

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Family is one metric of many objects.
type Family struct {
	Name, Help string
	Counter    bool     // a counter; otherwise a gauge
	Labels     []string // names
	Samples    []Sample
}

// Sample is the metric of one object.
type Sample struct {
	Labels    []string // values, in the order of the names
	Value     float64
	Histogram *Histogram // its sum is Value; nil: no histogram
}

// Histogram counts observations by size.
type Histogram struct {
	Count   uint64             // of all
	Buckets map[float64]uint64 // observations up to a bound, including smaller ones
}

// Metrics returns a handler with a page for Prometheus that shows what all returns at the time of
// the request.
func Metrics(all func() []Family) http.HandlerFunc {
	registry := prometheus.NewRegistry()
	registry.MustRegister(families(all)) // the first in a new registry: there can be no duplicates
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP
}

// families collects metrics that are not described in advance.
type families func() []Family

// Describe implements prometheus.Collector.
func (families) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (all families) Collect(out chan<- prometheus.Metric) {
	for _, f := range all() {
		typ := prometheus.GaugeValue
		if f.Counter {
			typ = prometheus.CounterValue
		}
		d := prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)
		for _, s := range f.Samples {
			m, err := metric(d, typ, s)
			if err != nil {
				m = prometheus.NewInvalidMetric(d, err)
			}
			out <- m
		}
	}
}

func metric(d *prometheus.Desc, typ prometheus.ValueType, s Sample) (prometheus.Metric, error) {
	if h := s.Histogram; h != nil {
		return prometheus.NewConstHistogram(d, h.Count, s.Value, h.Buckets, s.Labels...)
	}
	return prometheus.NewConstMetric(d, typ, s.Value, s.Labels...)
}
