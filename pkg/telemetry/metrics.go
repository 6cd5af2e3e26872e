// Package telemetry is what an operator sees of the service: Prometheus
// metrics and the log.
package telemetry

import (
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

const namespace = "clouddriver"

// Source gives the figures that are read when Prometheus asks.
type Source struct {
	Accounts func() []watch.Status
	Objects  func(account string) map[string]int
	Cache    func() (hits, misses, bytes uint64)
	// Tasks is how many tasks are under way.
	Tasks func() int
	// FallbackDown says that lists go without the fallback; nil without one.
	FallbackDown func() bool
}

// Metrics are the service's metrics.
type Metrics struct {
	registry   *prometheus.Registry
	requests   *prometheus.HistogramVec
	operations *prometheus.HistogramVec
	cleaned    prometheus.Counter
}

// NewMetrics registers all metrics.
func NewMetrics(s Source) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "http_request_duration_seconds",
			Help:    "Time to answer, by route, method and status.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .05, .1, .5, 1, 5},
		}, []string{"route", "method", "status"}),
		operations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "operation_duration_seconds",
			Help:    "Time that operations took, from the first look at the cluster, by operation and result.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 600},
		}, []string{"operation", "result"}),
		cleaned: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "resources_cleaned_up_total", Help: "Old rows removed from kubernetes_resources.",
		}),
	}
	m.registry.MustRegister(m.requests, m.operations, m.cleaned, &source{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Observe counts one request.
func (m *Metrics) Observe(route, method string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Observe(took.Seconds())
}

// ObserveOperation counts one operation that has ended.
func (m *Metrics) ObserveOperation(operation string, failed bool, took time.Duration) {
	result := "succeeded"
	if failed {
		result = "failed"
	}
	m.operations.WithLabelValues(operation, result).Observe(took.Seconds())
}

// CleanedUp counts removed rows of kubernetes_resources.
func (m *Metrics) CleanedUp(rows int64) { m.cleaned.Add(float64(rows)) }

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, ErrorHandling: promhttp.ContinueOnError})
}

type source struct{ Source }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	accountState   = describe("account_state", "1 for the state that the account is in: starting, failed or synced.", "account", "state")
	accountStale   = describe("account_stale", "1 while some stream of the account is not live, so that its objects may be behind its cluster.", "account")
	watchLive      = describe("watch_live", "1 while the stream proves what is held of its kind; phase says how it is.", "account", "kind", "namespace", "phase")
	watchOdd       = describe("watch_odd_objects_total", "Objects that could not be read as their kind is: they are shown in part, or left out.", "account", "kind", "namespace")
	watchSynced    = describe("watch_synced", "1 once the kind has been listed; reason says why it is not followed now.", "account", "kind", "namespace", "reason")
	watchEvents    = describe("watch_events_total", "Events received.", "account", "kind", "namespace")
	watchLists     = describe("watch_lists_total", "Complete lists received.", "account", "kind", "namespace")
	indexObjects   = describe("index_objects", "Objects in the index.", "account", "kind")
	cacheHits      = describe("cache_hits_total", "Rendered answers found in the cache.")
	cacheMisses    = describe("cache_misses_total", "Rendered answers not found in the cache.")
	tasksUnderWay  = describe("tasks_under_way", "Tasks that this replica is running or has waiting.")
	fallbackDown   = describe("fallback_down", "1 while lists go without the fallback, which does not answer.")
	cacheBytesUsed = describe("cache_bytes", "Bytes of rendered answers in the cache.")
)

func (s *source) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, ch) }

func (s *source) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for _, a := range s.Accounts() {
		gauge(accountState, 1, a.Account, string(a.State))
		gauge(accountStale, bit(a.Stale), a.Account)
		for _, k := range a.Kinds {
			gauge(watchSynced, bit(k.Synced), a.Account, k.Kind, k.Namespace, string(k.Reason))
			gauge(watchLive, bit(k.Phase == watch.Live), a.Account, k.Kind, k.Namespace, string(k.Phase))
			counter(watchOdd, k.Odd, a.Account, k.Kind, k.Namespace)
			counter(watchEvents, k.Events, a.Account, k.Kind, k.Namespace)
			counter(watchLists, k.Lists, a.Account, k.Kind, k.Namespace)
		}
		for kind, n := range s.Objects(a.Account) {
			gauge(indexObjects, float64(n), a.Account, kind)
		}
	}
	hits, misses, bytes := s.Cache()
	counter(cacheHits, hits)
	counter(cacheMisses, misses)
	gauge(cacheBytesUsed, float64(bytes))
	gauge(tasksUnderWay, float64(s.Tasks()))
	if s.FallbackDown != nil {
		gauge(fallbackDown, bit(s.FallbackDown()))
	}
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// NewLogger makes the service's logger; the values come validated from the
// configuration.
func NewLogger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // validated
	o := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
