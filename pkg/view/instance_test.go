package view

import (
	"fmt"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
)

// podIn is a pod with so many containers, of which the first is ready or not.
func podIn(t *testing.T, phase string, containers int, ready bool) *index.Object {
	t.Helper()
	var statuses []any
	for i := range containers {
		statuses = append(statuses, map[string]any{"name": fmt.Sprint("c", i), "ready": ready || i > 0})
	}
	o := index.Decode(&account.Account{}, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "p", "uid": "u", "resourceVersion": "1"},
		"status": map[string]any{"phase": phase, "containerStatuses": statuses},
	}})
	if o == nil {
		t.Fatal("it is no pod")
	}
	return o
}

func TestHealthOf_IsThatOfTheStateThoughItIsShared(t *testing.T) {
	for range 2 { // made, and then known
		for phase, pod := range map[string]string{"Running": up, "Pending": down, "Failed": unknown} {
			for _, ready := range []bool{true, false} {
				first := map[bool]string{true: up, false: down}[ready]
				want := []health{
					{"platform", "Pod", pod, "kubernetes/pod"}, {"platform", "Container c0", first, "kubernetes/container"}, {"platform", "Container c1", up, "kubernetes/container"},
				}
				if got := healthOf(podIn(t, phase, 2, ready)); !reflect.DeepEqual(got, want) {
					t.Errorf("%s, ready %v: %+v", phase, ready, got)
				}
			}
		}
	}
}

func TestHealths_AreBounded(t *testing.T) {
	var lists healthLists
	for n := range 2 * mostHealths {
		o := index.Decode(&account.Account{}, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "p", "uid": "u", "resourceVersion": "1"},
			"status": map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{"name": fmt.Sprint(n), "ready": true}}},
		}})
		if got := lists.of(o.Pod()).entries; len(got) != 2 || got[1].Source != fmt.Sprint("Container ", n) {
			t.Fatalf("%+v", got)
		}
		if len(lists.made) > mostHealths {
			t.Fatalf("%d are kept", len(lists.made))
		}
	}
}
