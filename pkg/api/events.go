package api

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

const (
	eventsTimeout = 5 * time.Second
	eventsMost    = 50 // Orca adds up what it is sent at each poll
	// eventsFor is how long events are shown without asking again: as often as
	// Orca polls.
	eventsFor = 5 * time.Second
)

// events lists an object's events, oldest first; none when they cannot be read
// (read-rest.md 1.4). All who look at an object share one reading.
func (s *Server) events(client Cluster, accountName string, object *unstructured.Unstructured) []map[string]any {
	k := strings.Join([]string{"events", accountName, string(object.GetUID()), object.GetKind(), turn(eventsFor)}, "\x00")
	return index.Cached(s.Cache, k, func() ([]map[string]any, int) {
		// The first who asks may go, the others want the answer.
		ctx, cancel := context.WithTimeout(context.Background(), eventsTimeout)
		defer cancel()
		const typical = 1 << 10
		found := readEvents(ctx, client, object)
		return found, typical * (1 + len(found))
	})
}

// turn is part of the key of what is read from a cluster anew once in a while, for
// all who ask.
func turn(every time.Duration) string {
	return strconv.FormatInt(time.Now().UnixNano()/int64(every), 36)
}

func readEvents(ctx context.Context, client Cluster, object *unstructured.Unstructured) []map[string]any {
	all, err := client.Events(ctx, cmp.Or(object.GetNamespace(), "default"), object.GetKind(), object.GetName())
	if err != nil {
		return []map[string]any{}
	}
	out := []map[string]any{}
	for _, e := range all {
		about, _ := e.Object["involvedObject"].(map[string]any)
		if uid, _ := about["uid"].(string); uid != "" && uid != string(object.GetUID()) {
			continue
		}
		unstructured.RemoveNestedField(e.Object, "metadata", "managedFields")
		fillTimes(e.Object)
		out = append(out, e.Object)
	}
	slices.SortStableFunc(out, func(a, b map[string]any) int { return strings.Compare(eventTime(a), eventTime(b)) })
	return out[max(0, len(out)-eventsMost):]
}

// fillTimes copies the times of newer events into the fields that Deck prints.
func fillTimes(e map[string]any) {
	series, _ := e["series"].(map[string]any)
	for field, sources := range map[string][]any{"lastTimestamp": {series["lastObservedTime"], e["eventTime"]}, "firstTimestamp": {e["eventTime"]}} {
		if t, _ := e[field].(string); t != "" {
			continue
		}
		for _, source := range sources {
			if t, _ := source.(string); t != "" {
				e[field] = t
				break
			}
		}
	}
	for key, v := range e {
		if v == nil {
			delete(e, key)
		}
	}
}

func eventTime(e map[string]any) string {
	last, _ := e["lastTimestamp"].(string)
	first, _ := e["firstTimestamp"].(string)
	return cmp.Or(last, first, "n/a")
}

// podMetrics is a pod's usage, as kubectl top prints it (read-rest.md 1.5);
// none when nothing measures.
func podMetrics(ctx context.Context, client Cluster, pod *unstructured.Unstructured) []any {
	ctx, cancel := context.WithTimeout(ctx, eventsTimeout)
	defer cancel()
	usage, err := client.Metrics(ctx, pod.GetNamespace(), pod.GetName())
	if err != nil {
		return []any{}
	}
	return view.PodMetrics(usage.Object)
}
