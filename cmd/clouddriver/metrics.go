package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/telemetry"
)

// printMetrics writes the reference page of all metrics, docs/metrics.md.
func printMetrics(w io.Writer) error {
	if _, err := fmt.Fprint(w, `# Metrics

`+"`/metrics`"+` answers them in Prometheus' format, as does the admin port (`+"`admin.port`"+`). Besides those below there
are the Go runtime's (`+"`go_*`"+`) and the process' (`+"`process_*`"+`). Times are in seconds.
[Alert rules](../helm/clouddriver/files/alerts.yaml) and a [Grafana dashboard](../helm/clouddriver/files/dashboard.json)
come with the chart.

| Metric | Type | Labels | Meaning |
| --- | --- | --- | --- |
`); err != nil {
		return err
	}
	for _, m := range telemetry.Reference() {
		labels := make([]string, 0, len(m.Labels))
		for _, l := range m.Labels {
			labels = append(labels, "`"+l+"`")
		}
		if _, err := fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", m.FullName(), m.Type, strings.Join(labels, ", "), m.Help); err != nil {
			return err
		}
	}
	return nil
}
