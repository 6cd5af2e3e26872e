package operation

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func outcomeOf(before, after map[string]any) *Outcome {
	return &Outcome{Before: &unstructured.Unstructured{Object: before}, Object: &unstructured.Unstructured{Object: after}, Change: Updated}
}

func TestChanged_NeverHasTheContentOfSecrets(t *testing.T) {
	applied := map[string]any{"annotations": map[string]any{lastApplied: `{"data":{"k":"hunter2"}}`}}
	got := Changed("secret", outcomeOf(
		map[string]any{"kind": "Secret", "metadata": map[string]any{}, "data": map[string]any{"k": "hunter1"}, "type": "a"},
		map[string]any{"kind": "Secret", "metadata": applied, "data": map[string]any{"k": "hunter2"}, "stringData": map[string]any{"l": "hunter3"}, "type": "b"},
	))
	if text := fmt.Sprint(got); strings.Contains(text, "hunter") || !strings.Contains(text, "/data/k") || !strings.Contains(text, "/type") {
		t.Error(text)
	}
}

func TestChanged_IsBounded(t *testing.T) {
	before, after := map[string]any{}, map[string]any{}
	for i := range 100 {
		after[fmt.Sprintf("k%02d", i)] = strings.Repeat("ü", 5000)
	}
	got := Changed("configMap", outcomeOf(map[string]any{"data": before}, map[string]any{"data": after}))
	if len(got) != mostDiffs+1 || got[mostDiffs].Path != "and 60 more" {
		t.Errorf("%d, the last %+v", len(got), got[len(got)-1])
	}
	for _, d := range got[:mostDiffs] {
		if text, ok := d.After.(string); !ok || len(text) > longestValue+10 {
			t.Errorf("%s has %d bytes", d.Path, len(text))
		}
	}
}

func TestChanged_IsNothingWithoutAnObjectFromBefore(t *testing.T) {
	for _, o := range []*Outcome{{}, {Object: &unstructured.Unstructured{Object: map[string]any{"a": "b"}}}, {Before: &unstructured.Unstructured{}}} {
		if got := Changed("pod", o); got == nil || len(got) > 0 {
			t.Errorf("%+v", got)
		}
	}
}
