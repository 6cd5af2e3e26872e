package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

func (s *Server) jobRoutes(r chi.Router) {
	r.Get("/applications/{application}/jobs/{account}/{location}/{id}", s.job)
	r.Post("/applications/{application}/jobs/{account}/{location}/{id}", s.job) // as Gate asks
	r.Delete("/applications/{application}/jobs/{account}/{location}/{id}", s.cancelJob)
	r.Get("/applications/{application}/jobs/{account}/{location}/{id}/{container}", s.jobProperties)
	r.Get("/applications/{application}/kubernetes/pods/{account}/{namespace}/{pod}/{container}", s.podProperties)
}

// jobRequest is a question about one job.
type jobRequest struct {
	account            *account.Account
	client             Cluster
	location, name, id string
}

func (s *Server) jobOf(r *http.Request) (jobRequest, error) {
	p, err := segments(r, "account", "location", "id")
	if err != nil {
		return jobRequest{}, err
	}
	q := jobRequest{location: p[1], id: p[2]}
	kind, name, ok := spinnaker.SplitFullName(p[2])
	q.name = name
	a, known := s.Accounts.Get(p[0])
	if !ok || !known || !spinnaker.SameKind(kind, "job") || !a.AllowsNamespace(q.location) {
		return q, q.missing(p[0])
	}
	q.account = a
	if q.client, err = s.Clients.Client(p[0]); err != nil {
		return q, problem{status: http.StatusServiceUnavailable, message: err.Error()}
	}
	return q, nil
}

func (q jobRequest) missing(accountName string) error {
	return view.NotFoundError(fmt.Sprintf("Job not found (account: %s, location: %s, id: %s)", accountName, q.location, q.id))
}

// job answers how a job is (read-rest.md 2.3).
func (s *Server) job(w http.ResponseWriter, r *http.Request) {
	q, err := s.jobOf(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	object, err := s.object(r, q.client, q.account, "job", q.location, q.name)
	var pods []view.JobPod
	switch {
	case cluster.Is(err, cluster.NotFound):
		// A job may go by its own time to live before anybody has asked how it
		// ended.
		object = s.Index.LastJob(q.account.Name, q.location, q.name)
		if object == nil || view.JobStateOf(object.Object) == view.JobRunning {
			s.fail(w, r, q.missing(q.account.Name))
			return
		}
	case err != nil:
		s.fail(w, r, upstream(q.account.Name, err))
		return
	default:
		if pods, err = s.podsOfJob(r, q, object); err != nil {
			s.fail(w, r, upstream(q.account.Name, err))
			return
		}
	}
	s.send(w, r, &watch.Health{}, newAnswer(view.Encode(view.NewJob(q.account.Name, object, pods, !s.Jobs.HidePodStatus))))
}

// podsOfJob lists a job's pods. While the watch tells that none of them has
// changed, they are not asked for again.
func (s *Server) podsOfJob(r *http.Request, q jobRequest, job *unstructured.Unstructured) ([]view.JobPod, error) {
	name := q.account.Name
	watched, versions := s.Index.Instances(name, string(job.GetUID()))
	// The error goes with the pods: whoever shares the reading shares it, too.
	type answer struct {
		pods []view.JobPod
		// told says that the watch tells of every one of them. In an account
		// that is watched through a selector it may not.
		told bool
		err  error
	}
	read := func() answer {
		all, err := livePods(r.Context(), q.client, job)
		out := answer{told: err == nil, err: err}
		for _, pod := range all {
			out.pods = append(out.pods, view.NewJobPod(pod.Object))
			_, ok := watched[string(pod.GetUID())]
			out.told = out.told && ok
		}
		return out
	}
	if s.await(r, name).IsStale(name) || !s.Index.Follows(name, "pod", q.location) {
		found := read()
		return found.pods, found.err
	}
	key := strings.Join([]string{"jobPods", name, string(job.GetUID()), job.GetResourceVersion(), versions}, "\x00")
	found := index.Cached(s.Cache, key, func() (answer, int) {
		const typical = 4 << 10
		found := read()
		return found, typical * (1 + len(found.pods))
	})
	if !found.told {
		s.Cache.Drop(key)
	}
	return found.pods, found.err
}

func livePods(ctx context.Context, client Cluster, job *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	match, _, _ := unstructured.NestedStringMap(job.Object, "spec", "selector", "matchLabels")
	if len(match) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, liveList)
	defer cancel()
	return client.List(ctx, podResource, job.GetNamespace(), labels.SelectorFromSet(match).String())
}

// cancelJob deletes a job and its pods (read-rest.md 2.6).
func (s *Server) cancelJob(w http.ResponseWriter, r *http.Request) {
	q, err := s.jobOf(r)
	if err == nil && s.Jobs.KeepOnCancel {
		err = bad("jobs.cancelDeletes is off: jobs are not deleted when they are cancelled")
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	resource := cluster.Resource{Group: "batch", Version: "v1", Plural: "jobs", Kind: "Job", Namespaced: true}
	live, err := q.client.Get(r.Context(), resource, q.location, q.name)
	if err == nil {
		uid, background := live.GetUID(), metav1.DeletePropagationBackground
		err = q.client.Delete(r.Context(), resource, q.location, q.name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &background})
		if err == nil {
			s.Index.Gone(q.account.Name, "job", q.location, q.name, string(uid))
		}
	}
	if err != nil && !cluster.Is(err, cluster.NotFound) && !cluster.Is(err, cluster.Conflict) {
		s.fail(w, r, upstream(q.account.Name, err))
		return
	}
	w.WriteHeader(http.StatusOK)
}

// propertiesMost is how much of a log is read for properties.
const propertiesMost = 50 << 20

// jobProperties reads what a container of a job says to the pipeline in its
// log (read-rest.md 2.4). Orca takes every failure for "nothing".
func (s *Server) jobProperties(w http.ResponseWriter, r *http.Request) {
	found := map[string]any{}
	defer func() { s.json(w, r, found) }()
	q, err := s.jobOf(r)
	if err != nil {
		return
	}
	p, err := segments(r, "container")
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.Limits.LogTimeout)
	defer cancel()
	job, err := s.object(r, q.client, q.account, "job", q.location, q.name)
	if err != nil {
		return
	}
	pods, err := livePods(ctx, q.client, job)
	if err != nil || len(pods) == 0 {
		return
	}
	found = s.properties(ctx, q.client, q.location, bestPod(pods), p[0])
}

// bestPod is the newest pod that has succeeded, else the newest.
func bestPod(pods []*unstructured.Unstructured) string {
	slices.SortFunc(pods, func(a, b *unstructured.Unstructured) int {
		first, second := a.GetCreationTimestamp(), b.GetCreationTimestamp()
		return second.Compare(first.Time)
	})
	for _, pod := range pods {
		if phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase"); phase == "Succeeded" {
			return pod.GetName()
		}
	}
	return pods[0].GetName()
}

// podProperties is the same for a pod (read-rest.md 2.5).
func (s *Server) podProperties(w http.ResponseWriter, r *http.Request) {
	found := map[string]any{}
	defer func() { s.json(w, r, found) }()
	p, err := segments(r, "account", "namespace", "pod", "container")
	if err != nil {
		return
	}
	a, known := s.Accounts.Get(p[0])
	if !known || !a.AllowsNamespace(p[1]) {
		return
	}
	client, err := s.Clients.Client(p[0])
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.Limits.LogTimeout)
	defer cancel()
	found = s.properties(ctx, client, p[1], p[2], p[3])
}

func (s *Server) properties(ctx context.Context, client Cluster, namespace, pod, container string) map[string]any {
	log, err := client.Logs(ctx, namespace, pod, container)
	if err == nil {
		defer func() { _ = log.Close() }()
		var found map[string]any
		if found, err = view.Properties(io.LimitReader(log, propertiesMost)); err == nil {
			return found
		}
	}
	s.Log.Info("no properties in a log", "namespace", namespace, "pod", pod, "container", container, "error", err)
	return map[string]any{}
}
