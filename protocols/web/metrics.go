package web

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Family is one metric of many things.
type Family struct {
	Name, Help string
	Counter    bool     // it only grows; else it is a gauge
	Labels     []string // names
	Samples    []Sample
}

// Sample is the metric of one thing.
type Sample struct {
	Labels    []string // values, in the order of the names
	Value     float64
	Histogram *Histogram // whose sum Value is; nil: it is none
}

// Histogram counts observations by how large they were.
type Histogram struct {
	Count   uint64             // of all
	Buckets map[float64]uint64 // of those up to a bound, smaller ones included
}

// Metrics is a page for Prometheus that shows what all says at the moment it is asked.
func Metrics(all func() []Family) http.HandlerFunc {
	registry := prometheus.NewRegistry()
	registry.MustRegister(families(all)) // the first of a new registry: nothing can be there twice
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP
}

// families collects without saying beforehand what.
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
