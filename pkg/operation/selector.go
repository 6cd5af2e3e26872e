package operation

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// selectors are Spinnaker's label selectors, joined with AND (operations.md
// 3.7).
type selectors struct {
	Selectors []struct {
		Kind   string   `json:"kind"`
		Key    string   `json:"key"`
		Values []string `json:"values"`
	} `json:"selectors"`
}

// selector is Kubernetes' form; nil selects everything.
func (s selectors) selector() (labels.Selector, error) {
	var out labels.Selector
	for i, term := range s.Selectors {
		var operator selection.Operator
		values := term.Values
		needsValues := true
		switch strings.ToUpper(term.Kind) {
		case "ANY":
			continue
		case "EQUALS":
			operator = selection.Equals
		case "NOT_EQUALS":
			operator = selection.NotEquals
		case "CONTAINS":
			operator = selection.In
		case "NOT_CONTAINS":
			operator = selection.NotIn
		case "EXISTS":
			operator, values, needsValues = selection.Exists, nil, false
		case "NOT_EXISTS":
			operator, values, needsValues = selection.DoesNotExist, nil, false
		default:
			return nil, fmt.Errorf("labelSelectors.selectors[%d].kind: %q is none of ANY, EQUALS, NOT_EQUALS, CONTAINS, NOT_CONTAINS, EXISTS, NOT_EXISTS", i, term.Kind)
		}
		if term.Key == "" {
			return nil, fmt.Errorf("labelSelectors.selectors[%d].key: must be given", i)
		}
		if needsValues && len(values) == 0 {
			return nil, fmt.Errorf("labelSelectors.selectors[%d].values: must be given", i)
		}
		if operator == selection.Equals || operator == selection.NotEquals {
			values = values[:1]
		}
		r, err := labels.NewRequirement(term.Key, operator, values)
		if err != nil {
			return nil, fmt.Errorf("labelSelectors.selectors[%d]: %w", i, err)
		}
		if out == nil {
			out = labels.NewSelector()
		}
		out = out.Add(*r)
	}
	return out, nil
}
