package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/budget"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

func noInstance(id string) error {
	return view.NotFoundError("Instance not found (id: " + id + ")")
}

// instance answers for one pod, or for whatever else is called so (read-rest.md
// 2.1).
func (s *Server) instance(r *request) (reply, error) {
	p := r.segments("account", "region", "id")
	kind, name, ok := spinnaker.SplitFullName(p[2])
	a, known := s.Accounts.Get(p[0])
	if !ok && known { // a hit of a search has the UID
		kind, name, ok = s.podOfUID(p[0], p[2])
	}
	if !ok || !known {
		return reply{}, noInstance(p[2])
	}
	found, err := s.instanceAt(r, a, kind, p[1], name)
	if err != nil {
		return reply{}, s.notRead(p[0], err, noInstance(p[2]))
	}
	return answered(newAnswer(view.Instance(p[0], found)), p[0]), nil
}

// podOfUID finds the kind and the name of an instance.
func (s *Server) podOfUID(accountName, uid string) (kind, name string, ok bool) {
	if _, err := uuid.Parse(uid); err != nil {
		return "", "", false
	}
	for _, o := range s.Index.OfClass(accountName, spinnaker.Instances) {
		if o.UID() == uid {
			return o.Kind.Text, o.Name, true
		}
	}
	return "", "", false
}

func (s *Server) instanceAt(r *request, a *account.Account, kind, namespace, name string) (*index.Object, error) {
	at, err := s.place(r, a, kind, namespace, name)
	if err != nil {
		return nil, err
	}
	if s.inMemory(r, at) {
		if found := s.Index.Find(a.Name, at.namespace, kind, name); found != nil {
			return found, nil
		}
	}
	live, err := s.readLive(r, at)
	if err != nil {
		return nil, err
	}
	if found := index.Decode(a, live); found != nil {
		return found, nil
	}
	return nil, errNoSuchObject
}

var podResource = cluster.Resource{Version: "v1", Plural: "pods", Kind: "Pod", Namespaced: true, Watchable: true}

// consoleMost is what is shown of one container's log, its end, and podMost what
// is shown of all of a pod's.
const (
	consoleMost = 5 << 20
	podMost     = 16 << 20
)

type containerLog struct {
	Name   string `json:"name"`
	Output string `json:"output"`
}

// console answers with the logs of a pod's containers (read-rest.md 2.2).
func (s *Server) console(r *request) (reply, error) {
	p := r.segments("account", "region", "id")
	query := r.URL.Query()
	provider := query.Get("cloudProvider")
	if provider == "" {
		provider = query.Get("provider")
	}
	kind, name, ok := spinnaker.SplitFullName(p[2])
	a, known := s.Accounts.Get(p[0])
	if !ok || !known || !spinnaker.SameKind(kind, "pod") || !a.AllowsNamespace(a.NamespaceFor(p[1])) || (provider != "" && provider != kubernetes) {
		return reply{}, noInstance(p[2])
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.Limits.LogTimeout)
	defer cancel()
	client, err := s.Clients.Client(p[0])
	if err != nil {
		return reply{}, s.unavailable(p[0], err)
	}
	pod, err := client.Get(ctx, podResource, a.NamespaceFor(p[1]), name)
	var logs []containerLog
	switch {
	case cluster.Is(err, cluster.NotFound):
		logs = []containerLog{{"Error", "Failed to retrieve pod data; pod may have been deleted."}}
	case err != nil:
		return reply{}, s.unavailable(p[0], err)
	default:
		names := containersOf(pod.Object)
		if logs, err = s.sharedLogs(client, podKey{a.Name, a.NamespaceFor(p[1]), name, string(pod.GetUID())}, names); err != nil {
			return reply{}, memoryProblem(err)
		}
	}
	return answered(newAnswer(view.Encode(map[string]any{"output": logs}))), nil
}

// containersOf lists a pod's containers: those that start it, the others, and
// those that were added to it.
func containersOf(pod map[string]any) []string {
	var out []string
	for _, list := range []string{"initContainers", "containers", "ephemeralContainers"} {
		all, _, _ := unstructured.NestedSlice(pod, "spec", list)
		for _, c := range all {
			if c, ok := c.(map[string]any); ok {
				if name, _ := c["name"].(string); name != "" {
					out = append(out, name)
				}
			}
		}
	}
	return out
}

// podKey is one pod, whose logs are looked at.
type podKey struct{ account, namespace, pod, uid string }

const (
	// logsFor is how long the logs of a pod are shown without reading them again:
	// a window that several people look at asks again and again.
	logsFor = time.Second
	// logsAtOnce is how many containers of a pod are read at once, and leastLog
	// what is shown of each however many there are.
	logsAtOnce = 8
	leastLog   = 64 << 10
)

// sharedLogs reads the logs of a pod once for all who ask within a second. The
// memory for all of them is taken before they are read.
func (s *Server) sharedLogs(client Cluster, key podKey, containers []string) ([]containerLog, error) {
	type reading struct {
		logs []containerLog
		err  error
	}
	k := strings.Join([]string{"logs", key.account, key.namespace, key.pod, key.uid, turn(logsFor)}, "\x00")
	found := index.Cached(s.Cache, k, func() (reading, int) {
		logs, err := s.readLogs(client, key, containers)
		bytes := 0
		for _, l := range logs {
			bytes += len(l.Output)
		}
		return reading{logs, err}, bytes
	})
	if found.err != nil {
		s.Cache.Drop(k)
	}
	return found.logs, found.err
}

func (s *Server) readLogs(client Cluster, key podKey, containers []string) ([]containerLog, error) {
	each := consoleMost
	if len(containers) > 0 {
		each = min(consoleMost, max(podMost/len(containers), leastLog))
	}
	var room taken
	defer room.free()
	// The first who asks may go, the others want the answer.
	ctx, cancel := context.WithTimeout(context.Background(), s.Limits.LogTimeout)
	defer cancel()
	logs := make([]containerLog, len(containers))
	var reading errgroup.Group
	reading.SetLimit(logsAtOnce)
	for i, container := range containers {
		reading.Go(func() error {
			logs[i] = containerLog{container, logOf(ctx, client, key, container, each, func(n int) error { return room.take(s.Memory, n) })}
			return nil
		})
	}
	return logs, errors.Join(reading.Wait(), room.failed)
}

// taken is memory that is taken piece by piece.
type taken struct {
	mu     sync.Mutex
	pieces []func()
	failed error
}

func (t *taken) take(from *budget.Budget, n int) error {
	free, err := from.Take(int64(n))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pieces = append(t.pieces, free)
	if err != nil {
		t.failed = err
	}
	return err
}

func (t *taken) free() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, give := range t.pieces {
		give()
	}
}

// logOf is the end of a container's log, or why there is none.
func logOf(ctx context.Context, client Cluster, at podKey, container string, most int, take func(int) error) string {
	log, err := client.Logs(ctx, at.namespace, at.pod, container)
	if err == nil {
		var text string
		text, err = tail(log, most, take)
		_ = log.Close() // it was only read
		text = strings.ToValidUTF8(text, "\uFFFD")
		if err == nil {
			return text
		}
		if text != "" {
			return fmt.Sprintf("[the log could not be read to its end: %s]\n%s", cluster.Message(err), text)
		}
	}
	return fmt.Sprintf("Failed to get logs from %s/%s in %s: %s", at.pod, container, at.namespace, cluster.Message(err))
}

// tail reads everything and keeps the end. What was read before a failure is
// worth showing, too.
func tail(r io.Reader, most int, take func(int) error) (string, error) {
	const step = 64 << 10
	if err := take(2 * step); err != nil {
		return "", err
	}
	kept := make([]byte, 0, step)
	cut := false
	buffer := make([]byte, step)
	for {
		n, err := r.Read(buffer)
		if len(kept)+n > cap(kept) {
			more := cap(kept)
			if full := take(more); full != nil {
				return "", full
			}
			kept = slices.Grow(kept, more)
		}
		kept = append(kept, buffer[:n]...)
		if len(kept) > 2*most {
			kept, cut = append(kept[:0], kept[len(kept)-most:]...), true
		}
		if err == nil {
			continue
		}
		if len(kept) > most {
			kept, cut = kept[len(kept)-most:], true
		}
		text := string(kept)
		if cut {
			text = fmt.Sprintf("[only the last %d bytes of the log are shown]\n", most) + text
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return text, err
	}
}
