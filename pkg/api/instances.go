package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

func (s *Server) instanceRoutes(r chi.Router) {
	r.Get("/{account}/{region}/{id}", s.instance)
	r.Get("/{account}/{region}/{id}/console", s.console)
}

func noInstance(id string) error {
	return view.NotFoundError("Instance not found (id: " + id + ")")
}

// instance answers for one pod, or for whatever else is called so (read-rest.md
// 2.1).
func (s *Server) instance(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "account", "region", "id")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	kind, name, ok := spinnaker.SplitFullName(p[2])
	a, known := s.Accounts.Get(p[0])
	if !ok || !known {
		s.fail(w, r, noInstance(p[2]))
		return
	}
	h := s.await(r, p[0])
	if found := s.Index.Find(p[0], p[1], kind, name); found != nil {
		s.send(w, r, h, newAnswer(view.Instance(p[0], found)), p[0])
		return
	}
	if h.NeverSynced(p[0]) && spinnaker.SameKind(kind, "pod") {
		if pod, err := s.livePod(r.Context(), p[0], p[1], name); err == nil {
			s.Index.Written(p[0], "pod", pod)
			if found := s.Index.Decode(a, pod); found != nil {
				s.send(w, r, h, newAnswer(view.Instance(p[0], found)), p[0])
				return
			}
		} else if !cluster.Is(err, cluster.NotFound) {
			s.fail(w, r, upstream(p[0], err))
			return
		}
	}
	s.fail(w, r, missing(h, p[0], noInstance(p[2]).Error()))
}

func (s *Server) livePod(ctx context.Context, accountName, namespace, name string) (*unstructured.Unstructured, error) {
	client, err := s.Clients.Client(accountName)
	if err != nil {
		return nil, err
	}
	return client.Get(ctx, podResource, namespace, name)
}

var podResource = cluster.Resource{Version: "v1", Plural: "pods", Kind: "Pod", Namespaced: true, Watchable: true}

// consoleMost is what is shown of one container's log: its end.
const consoleMost = 5 << 20

type containerLog struct {
	Name   string `json:"name"`
	Output string `json:"output"`
}

// console answers with the logs of a pod's containers (read-rest.md 2.2).
func (s *Server) console(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "account", "region", "id")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	query := r.URL.Query()
	provider := query.Get("cloudProvider")
	if provider == "" {
		provider = query.Get("provider")
	}
	kind, name, ok := spinnaker.SplitFullName(p[2])
	a, known := s.Accounts.Get(p[0])
	if !ok || !known || !spinnaker.SameKind(kind, "pod") || !a.AllowsNamespace(p[1]) || (provider != "" && provider != kubernetes) {
		s.fail(w, r, noInstance(p[2]))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.Limits.LogTimeout)
	defer cancel()
	client, err := s.Clients.Client(p[0])
	if err != nil {
		s.fail(w, r, problem{status: http.StatusServiceUnavailable, message: err.Error()})
		return
	}
	pod, err := client.Get(ctx, podResource, p[1], name)
	var logs []containerLog
	switch {
	case cluster.Is(err, cluster.NotFound):
		logs = []containerLog{{"Error", "Failed to retrieve pod data; pod may have been deleted."}}
	case err != nil:
		s.fail(w, r, upstream(p[0], err))
		return
	default:
		names := containersOf(pod.Object)
		logs = make([]containerLog, len(names))
		var reading sync.WaitGroup
		for i, container := range names {
			reading.Go(func() { logs[i] = containerLog{container, logOf(ctx, client, p[1], name, container)} })
		}
		reading.Wait()
	}
	s.send(w, r, &watch.Health{}, newAnswer(view.Encode(map[string]any{"output": logs})))
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
