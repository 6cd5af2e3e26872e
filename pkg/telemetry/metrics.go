// Package telemetry is what an operator sees of the service: Prometheus
// metrics, the figures of the last hour, traces and the log.
package telemetry

import (
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
	// Registries says which registries were not read whole at the last try; nil
	// without any.
	Registries func() map[string]bool
	// Version is the build's.
	Version string
}

// Metric is one metric as the reference shows it.
type Metric struct {
	// Name is without the prefix clouddriver_.
	Name string
	// Type is counter, gauge or histogram.
	Type   string
	Help   string
	Labels []string
	// buckets are a histogram's, in seconds.
	buckets []float64
}

// The types of metrics.
const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

var (
	requestDuration = Metric{Name: "http_request_duration_seconds", Type: histogram, Help: "Time to answer, by route, method and status.", Labels: []string{"route", "method", "status"},
		buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .05, .1, .5, 1, 5}}
	operationDuration = Metric{Name: "operation_duration_seconds", Type: histogram, Help: "Time that operations took, from the first look at the cluster, by operation and result.", Labels: []string{"operation", "result"},
		buckets: []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 600}}
	clusterDuration = Metric{Name: "cluster_request_duration_seconds", Type: histogram, Help: "Time until API servers answered with headers, by method and status; 0 is no answer.", Labels: []string{"method", "status"},
		buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30}}
	eventLag = Metric{Name: "watch_event_lag_seconds", Type: histogram, Help: "Time from an object's creation, which Kubernetes tells to the second, until it is shown.",
		buckets: []float64{.5, 1, 2, 3, 5, 10, 30, 60, 300}}

	cleanedUp      = Metric{Name: "resources_cleaned_up_total", Type: counter, Help: "Old rows removed from kubernetes_resources."}
	buildInfo      = Metric{Name: "build_info", Type: gauge, Help: "1, with the version that runs.", Labels: []string{"version"}}
	accountState   = Metric{Name: "account_state", Type: gauge, Help: "1 for the state that the account is in: starting, failed or synced.", Labels: []string{"account", "state"}}
	accountStale   = Metric{Name: "account_stale", Type: gauge, Help: "1 while some stream of the account is not live, so that its objects may be behind its cluster.", Labels: []string{"account"}}
	accountStreams = Metric{Name: "account_streams", Type: gauge, Help: "Streams of the account, one for each kind (and namespace), by how they are.", Labels: []string{"account", "phase"}}
	watchLive      = Metric{Name: "watch_live", Type: gauge, Help: "0 for each stream that does not prove what is held of its kind; phase says how it is, and reason why. One that is live is not there.", Labels: []string{"account", "kind", "namespace", "phase", "reason"}}
	watchSynced    = Metric{Name: "watch_synced", Type: gauge, Help: "0 for each kind that has never been listed. One that has is not there.", Labels: []string{"account", "kind", "namespace"}}
	watchOdd       = Metric{Name: "watch_odd_objects_total", Type: counter, Help: "Objects that could not be read as their kind is: they are shown in part, or left out. A kind without any is not there.", Labels: []string{"account", "kind", "namespace"}}
	watchEvents    = Metric{Name: "watch_events_total", Type: counter, Help: "Events received.", Labels: []string{"account"}}
	watchLists     = Metric{Name: "watch_lists_total", Type: counter, Help: "Complete lists received.", Labels: []string{"account"}}
	indexObjects   = Metric{Name: "index_objects", Type: gauge, Help: "Objects in the index.", Labels: []string{"account", "kind"}}
	cacheHits      = Metric{Name: "cache_hits_total", Type: counter, Help: "Rendered answers found in the cache."}
	cacheMisses    = Metric{Name: "cache_misses_total", Type: counter, Help: "Rendered answers not found in the cache."}
	cacheBytesUsed = Metric{Name: "cache_bytes", Type: gauge, Help: "Bytes of rendered answers and of manifests that are kept."}
	tasksUnderWay  = Metric{Name: "tasks_under_way", Type: gauge, Help: "Tasks that this replica is running or has waiting."}
	fallbackDown   = Metric{Name: "fallback_down", Type: gauge, Help: "1 while lists go without the fallback, which does not answer; not there without one."}
	registryStale  = Metric{Name: "registry_stale", Type: gauge, Help: "1 while what is known of a registry's account is of before its last, failed, reading.", Labels: []string{"account"}}
)

// Reference lists our metrics; those of the Go runtime and of the process
// (go_*, process_*) are Prometheus' own.
func Reference() []Metric {
	return []Metric{
		buildInfo, requestDuration, operationDuration, tasksUnderWay, clusterDuration, eventLag,
		accountState, accountStale, accountStreams, watchLive, watchSynced, watchEvents, watchLists, watchOdd,
		indexObjects, cacheHits, cacheMisses, cacheBytesUsed, cleanedUp, fallbackDown, registryStale,
	}
}

// FullName is the name in Prometheus.
func (m Metric) FullName() string { return prometheus.BuildFQName(namespace, "", m.Name) }

func (m Metric) desc() *prometheus.Desc {
	return prometheus.NewDesc(m.FullName(), m.Help, m.Labels, nil)
}

func (m Metric) histogram() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: m.Name, Help: m.Help, Buckets: m.buckets}, m.Labels)
}

// Metrics are the service's metrics.
type Metrics struct {
	registry   *prometheus.Registry
	requests   *prometheus.HistogramVec
	operations *prometheus.HistogramVec
	clusters   *prometheus.HistogramVec
	lag        *prometheus.HistogramVec
	cleaned    prometheus.Counter
	figures    *Figures
}

// NewMetrics registers all metrics. Figures are told what the plots show.
func NewMetrics(s Source, figures *Figures) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), figures: figures,
		requests: requestDuration.histogram(), operations: operationDuration.histogram(), clusters: clusterDuration.histogram(), lag: eventLag.histogram(),
		cleaned: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: cleanedUp.Name, Help: cleanedUp.Help}),
	}
	m.registry.MustRegister(
		m.requests, m.operations, m.clusters, m.lag, m.cleaned, newSource(s),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Observe counts one request.
func (m *Metrics) Observe(route, method string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Observe(took.Seconds())
	if method == http.MethodGet && status < http.StatusInternalServerError {
		m.figures.Read(took)
	}
}

// ObserveOperation counts one operation that has ended.
func (m *Metrics) ObserveOperation(operation string, failed bool, took time.Duration) {
	result := "succeeded"
	if failed {
		result = "failed"
	}
	m.operations.WithLabelValues(operation, result).Observe(took.Seconds())
}

// ObserveLag counts one object that was created and is shown now.
func (m *Metrics) ObserveLag(lag time.Duration) {
	m.lag.WithLabelValues().Observe(lag.Seconds())
	m.figures.Lag(lag)
}

// CleanedUp counts removed rows of kubernetes_resources.
func (m *Metrics) CleanedUp(rows int64) { m.cleaned.Add(float64(rows)) }

// Transport counts what goes to API servers.
func (m *Metrics) Transport(next http.RoundTripper) http.RoundTripper { return counting{next, m} }

type counting struct {
	next    http.RoundTripper
	metrics *Metrics
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	begin := time.Now()
	res, err := c.next.RoundTrip(r)
	status := 0
	if err == nil {
		status = res.StatusCode
	}
	c.metrics.clusters.WithLabelValues(r.Method, strconv.Itoa(status)).Observe(time.Since(begin).Seconds())
	return res, err
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, ErrorHandling: promhttp.ContinueOnError})
}

// source reads what others hold when Prometheus asks.
type source struct {
	Source
	descs map[string]*prometheus.Desc
}

func newSource(s Source) *source {
	out := &source{Source: s, descs: map[string]*prometheus.Desc{}}
	for _, m := range Reference() {
		if m.Type != histogram && m.Name != cleanedUp.Name { // which are counted as they happen
			out.descs[m.Name] = m.desc()
		}
	}
	return out
}

func (s *source) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range s.descs {
		ch <- d
	}
}

func (s *source) Collect(ch chan<- prometheus.Metric) {
	send := func(m Metric, v float64, labels ...string) {
		kind := prometheus.GaugeValue
		if m.Type == counter {
			kind = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(s.descs[m.Name], kind, v, labels...)
	}
	send(buildInfo, 1, s.Version)
	for _, a := range s.Accounts() {
		send(accountState, 1, a.Account, string(a.State))
		send(accountStale, bit(a.Stale), a.Account)
		s.streams(a, send)
		for kind, n := range s.Objects(a.Account) {
			send(indexObjects, float64(n), a.Account, kind)
		}
	}
	hits, misses, bytes := s.Cache()
	send(cacheHits, float64(hits))
	send(cacheMisses, float64(misses))
	send(cacheBytesUsed, float64(bytes))
	send(tasksUnderWay, float64(s.Tasks()))
	if s.FallbackDown != nil {
		send(fallbackDown, bit(s.FallbackDown()))
	}
	if s.Registries != nil {
		for name, stale := range s.Registries() {
			send(registryStale, bit(stale), name)
		}
	}
}

// streams tells of an account's streams. A fleet has tens of thousands of them, so only
// those that are not as they should be are told of by themselves.
func (s *source) streams(a watch.Status, send func(m Metric, v float64, labels ...string)) {
	phases := map[watch.Phase]int{}
	var events, lists uint64
	for _, k := range a.Kinds {
		phases[k.Phase]++
		events, lists = events+k.Events, lists+k.Lists
		if k.Phase != watch.Live {
			send(watchLive, 0, a.Account, k.Kind, k.Namespace, string(k.Phase), string(k.Reason))
		}
		if !k.Synced {
			send(watchSynced, 0, a.Account, k.Kind, k.Namespace)
		}
		if k.Odd > 0 {
			send(watchOdd, float64(k.Odd), a.Account, k.Kind, k.Namespace)
		}
	}
	for phase, n := range phases {
		send(accountStreams, float64(n), a.Account, string(phase))
	}
	send(watchEvents, float64(events), a.Account)
	send(watchLists, float64(lists), a.Account)
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
