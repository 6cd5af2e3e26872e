package compare

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
)

// row is all differences of one sort: of one pattern, place and kind.
type row struct {
	pattern, where string
	kind           Kind
	count          int
	example        Difference
}

// names are what identifies the rows of a list within a place.
var names = regexp.MustCompile(`\[[^\]]*\]`)

func (r *Report) rows() []row {
	index := map[string]*row{}
	for _, d := range r.Differences {
		where := names.ReplaceAllString(d.Where, "[]")
		key := d.Pattern + "\x00" + where + "\x00" + string(d.Kind)
		if index[key] == nil {
			index[key] = &row{pattern: d.Pattern, where: where, kind: d.Kind, example: d}
		}
		index[key].count++
	}
	out := make([]row, 0, len(index))
	for _, one := range index {
		out = append(out, *one)
	}
	slices.SortFunc(out, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.count, a.count), strings.Compare(a.pattern+a.where, b.pattern+b.where), strings.Compare(string(a.kind), string(b.kind)))
	})
	return out
}

const (
	// mostFailures are printed one by one.
	mostFailures = 20
	// widest is how much of a value is printed.
	widest = 60
)

// Table writes the report for a person.
func (r *Report) Table(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "here   %s\nthere  %s\n", r.Here, r.There)
	fmt.Fprintf(&b, "compared %d routes of %d accounts and %d applications that both have, in %.1f s\n", r.Routes, len(r.Accounts), len(r.Applications), r.Took)
	alone(&b, "accounts only here", r.AccountsOnlyHere)
	alone(&b, "accounts only there", r.AccountsOnlyThere)
	alone(&b, "applications only here", r.ApplicationsOnlyHere)
	alone(&b, "applications only there", r.ApplicationsOnlyThere)
	if rows := r.rows(); len(rows) > 0 {
		b.WriteString("\n")
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "TIMES\tWHAT\tROUTE\tPLACE\tHERE\tTHERE")
		for _, one := range rows {
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", one.count, one.kind, one.pattern, cmp.Or(one.where, "-"), short(one.example.Here), short(one.example.There))
		}
		_ = t.Flush() // a builder takes everything
	}
	if len(r.Failures) > 0 {
		fmt.Fprintf(&b, "\n%d routes could not be compared:\n", len(r.Failures))
		for _, f := range r.Failures[:min(len(r.Failures), mostFailures)] {
			fmt.Fprintf(&b, "  %s %s: %s\n", f.Side, f.Route, f.Problem)
		}
		if more := len(r.Failures) - mostFailures; more > 0 {
			fmt.Fprintf(&b, "  and %d more\n", more)
		}
	}
	switch {
	case !r.Equal():
		fmt.Fprintf(&b, "\n%d differences\n", len(r.Differences)+r.More)
	case len(r.Accounts) == 0:
		b.WriteString("\nthe two have no account in common: nothing could be compared\n")
	default:
		b.WriteString("\nno differences\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func alone(b *strings.Builder, what string, names []string) {
	if len(names) > 0 {
		fmt.Fprintf(b, "%s: %s\n", what, cut(strings.Join(names, ", ")))
	}
}

func short(v any) string {
	if v == nil {
		return "-"
	}
	return cut(canonical(v))
}

func cut(text string) string {
	if runes := []rune(text); len(runes) > widest {
		return string(runes[:widest]) + "…"
	}
	return text
}
