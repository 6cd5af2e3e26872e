package page

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/telemetry"
)

type figuresPage struct{ Plots []plot }

// plot is one curve of the last hour, as points of an SVG.
type plot struct {
	Title, Unit string
	Lines       []curve
	Most        string
	// Rows are the same as a table, for who does not see it.
	Rows []plotRow
}

type curve struct {
	Name, Class string
	// Pieces are the stretches without a gap.
	Pieces []string
	Last   string
}

type plotRow struct {
	At     time.Time
	Values []string
}

// The size of a plot, in units of its SVG.
const (
	plotWidth  = 600
	plotHeight = 120
)

// figure is what a curve shows of a sample.
type figure struct {
	name string
	of   func(telemetry.Sample) float64
}

// Figures are the plots of the last hour.
func (p *Pages) Figures(samples []telemetry.Sample) ([]byte, error) {
	m := figuresPage{Plots: []plot{
		newPlot("Events from clusters", "per second", samples, perSecond, figure{"events", func(s telemetry.Sample) float64 { return s.Events }}),
		newPlot("From an object's creation until it is shown", "to the second", samples, seconds, figure{"middle", func(s telemetry.Sample) float64 { return s.Lag }}),
		newPlot("Time to answer reads", "", samples, seconds,
			figure{"median", func(s telemetry.Sample) float64 { return s.Median }}, figure{"99 %", func(s telemetry.Sample) float64 { return s.P99 }}),
		newPlot("Memory", "of the process", samples, mebibytes, figure{"memory", func(s telemetry.Sample) float64 { return s.Memory }}),
	}}
	return p.render("figures", frame{Title: "Figures", Section: "figures", Every: 10_000, Model: m})
}

func perSecond(v float64) string { return fmt.Sprintf("%.1f", v) }
func mebibytes(v float64) string { return fmt.Sprintf("%.0f MiB", v/(1<<20)) }
func seconds(v float64) string {
	if v < 1e-3 {
		return fmt.Sprintf("%.0f µs", v*1e6)
	}
	if v < 1 {
		return fmt.Sprintf("%.1f ms", v*1e3)
	}
	return fmt.Sprintf("%.1f s", v)
}

// tableEvery is which samples stand in the table: one in five minutes.
const tableEvery = 30

func newPlot(title, unit string, samples []telemetry.Sample, say func(float64) string, figures ...figure) plot {
	most := 0.0
	for _, f := range figures {
		for _, s := range samples {
			if v := f.of(s); !math.IsNaN(v) {
				most = math.Max(most, v)
			}
		}
	}
	out := plot{Title: title, Unit: unit, Most: say(most)}
	for i, f := range figures {
		out.Lines = append(out.Lines, newCurve(f, fmt.Sprintf("line%d", i), samples, most, say))
	}
	for i := len(samples) - 1; i >= 0; i -= tableEvery {
		row := plotRow{At: samples[i].At}
		for _, f := range figures {
			row.Values = append(row.Values, known(f.of(samples[i]), say))
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

func known(v float64, say func(float64) string) string {
	if math.IsNaN(v) {
		return "–"
	}
	return say(v)
}

func newCurve(f figure, class string, samples []telemetry.Sample, most float64, say func(float64) string) curve {
	out := curve{Name: f.name, Class: class, Last: "–"}
	if len(samples) > 0 {
		out.Last = known(f.of(samples[len(samples)-1]), say)
	}
	if most == 0 {
		most = 1
	}
	const hour = float64(time.Hour)
	var piece strings.Builder
	end := func() {
		if piece.Len() > 0 {
			out.Pieces = append(out.Pieces, strings.TrimSpace(piece.String()))
			piece.Reset()
		}
	}
	for _, s := range samples {
		v := f.of(s)
		if math.IsNaN(v) {
			end()
			continue
		}
		x := plotWidth * (1 - float64(samples[len(samples)-1].At.Sub(s.At))/hour)
		y := plotHeight * (1 - v/most)
		fmt.Fprintf(&piece, "%.0f,%.1f ", x, y)
	}
	end()
	return out
}
