package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
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
		if o.UID == uid {
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

// consoleMost is what is shown of one container's log: its end.
const consoleMost = 5 << 20

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
		logs = make([]containerLog, len(names))
		var reading sync.WaitGroup
		for i, container := range names {
			reading.Go(func() {
				logs[i] = containerLog{container, s.sharedLog(r.Context(), client, logKey{a.Name, a.NamespaceFor(p[1]), name, container})}
			})
		}
		reading.Wait()
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

// logKey is one container's log.
type logKey struct{ account, namespace, pod, container string }

// sharedLog reads a log once for all who ask before the reading begins: a
// window that several people look at reads it again and again.
func (s *Server) sharedLog(ctx context.Context, client Cluster, key logKey) string {
	text, err := s.logs.Do(ctx, key, func() (string, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Limits.LogTimeout)
		defer cancel()
		return logOf(ctx, client, key.namespace, key.pod, key.container), nil
	})
	if err != nil {
		return fmt.Sprintf("Failed to get logs from %s/%s in %s: %v", key.pod, key.container, key.namespace, err)
	}
	return text
}

// logOf is the end of a container's log, or why there is none.
func logOf(ctx context.Context, client Cluster, namespace, pod, container string) string {
	log, err := client.Logs(ctx, namespace, pod, container)
	if err == nil {
		var text string
		text, err = tail(log, consoleMost)
		_ = log.Close() // it was only read
		text = strings.ToValidUTF8(text, "\uFFFD")
		if err == nil {
			return text
		}
		if text != "" {
			return fmt.Sprintf("[the log could not be read to its end: %s]\n%s", cluster.Message(err), text)
		}
	}
	return fmt.Sprintf("Failed to get logs from %s/%s in %s: %s", pod, container, namespace, cluster.Message(err))
}

// tail reads everything and keeps the end. What was read before a failure is
// worth showing, too.
func tail(r io.Reader, most int) (string, error) {
	var kept []byte
	cut := false
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.Read(buffer)
		kept = append(kept, buffer[:n]...)
		if len(kept) > 2*most {
			kept, cut = append([]byte(nil), kept[len(kept)-most:]...), true
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
