package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// jobRequest is a question about one job.
type jobRequest struct {
	account            *account.Account
	client             Cluster
	location, name, id string
}

func (s *Server) jobOf(r *request) (jobRequest, error) {
	p := r.segments("account", "location", "id")
	q := jobRequest{location: p[1], id: p[2]}
	kind, name, ok := spinnaker.SplitFullName(p[2])
	q.name = name
	a, known := s.Accounts.Get(p[0])
	if known {
		q.location = a.NamespaceFor(q.location)
	}
	if !ok || !known || !spinnaker.SameKind(kind, "job") || !a.AllowsNamespace(q.location) {
		return q, q.missing(p[0])
	}
	q.account = a
	var err error
	if q.client, err = s.Clients.Client(p[0]); err != nil {
		return q, s.unavailable(p[0], err)
	}
	return q, nil
}

// readJob reads the job itself.
func (s *Server) readJob(r *request, q jobRequest) (*unstructured.Unstructured, error) {
	at, err := s.place(r, q.account, "job", q.location, q.name)
	if err != nil {
		return nil, err
	}
	return s.object(r, at)
}

func (q jobRequest) missing(accountName string) error {
	return view.NotFoundError(fmt.Sprintf("Job not found (account: %s, location: %s, id: %s)", accountName, q.location, q.id))
}

// job answers how a job is (read-rest.md 2.3).
func (s *Server) job(r *request) (reply, error) {
	q, err := s.jobOf(r)
	if err != nil {
		return reply{}, err
	}
	object, err := s.readJob(r, q)
	var pods []view.JobPod
	switch {
	case gone(err):
		// A job may go by its own time to live before anybody has asked how it
		// ended.
		object = s.Index.LastJob(q.account.Name, q.location, q.name)
		if object == nil || view.JobStateOf(object.Object) == view.JobRunning {
			return reply{}, q.missing(q.account.Name)
		}
	case err != nil:
		return reply{}, s.unavailable(q.account.Name, err)
	default:
		if pods, err = s.podsOfJob(r, q, object); err != nil {
			return reply{}, s.unavailable(q.account.Name, err)
		}
	}
	return answered(newAnswer(view.Encode(view.NewJob(q.account.Name, object, pods, !s.Jobs.HidePodStatus)))), nil
}

// podsOfJob lists a job's pods. While the watch tells that none of them has
// changed, they are not asked for again.
func (s *Server) podsOfJob(r *request, q jobRequest, job *unstructured.Unstructured) ([]view.JobPod, error) {
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
		// The first who asks may go, the others want the answer.
		all, err := livePods(context.WithoutCancel(r.Context()), q.client, job)
		out := answer{told: err == nil, err: err}
		for _, pod := range all {
			out.pods = append(out.pods, view.NewJobPod(pod.Object))
			_, ok := watched[string(pod.GetUID())]
			out.told = out.told && ok
		}
		return out
	}
	if r.health.Unproved(name, kindCover("pod", q.location)) != nil {
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

// cancelWait is how long a cancelled job is waited for; its task goes on.
const cancelWait = 10 * time.Second

// cancelJob deletes a job and its pods, by an operation and its task like every
// other write (read-rest.md 2.6).
func (s *Server) cancelJob(r *request) (reply, error) {
	q, err := s.jobOf(r)
	if err == nil && s.Jobs.OnCancel == operation.CancelKeeps {
		err = bad("jobs.cancelDeletes is off: jobs are not deleted when they are cancelled")
	}
	if err != nil {
		return reply{}, err
	}
	name, description := "deleteManifest", map[string]any{
		"account": q.account.Name, "location": q.location, "manifestName": spinnaker.FullName("job", q.name), "app": r.path["application"],
		"options": map[string]any{"cascading": "background"},
	}
	if s.Jobs.OnCancel == operation.CancelSuspends {
		if _, err := s.readJob(r, q); gone(err) {
			return reply{}, nil
		}
		name, description["options"] = "patchManifest", map[string]any{"mergeStrategy": "merge"}
		description["patchBody"] = map[string]any{"spec": map[string]any{"suspend": true}}
	}
	body, err := json.Marshal(description)
	if err != nil {
		return reply{}, err
	}
	requests := []operation.Request{{Name: name, Body: body}}
	ops, err := s.validated(r, kubernetes, requests)
	if err != nil {
		return reply{}, err
	}
	id, err := s.Tasks.Submit(r.Context(), contextOf(r, ops), requests)
	if err != nil {
		return reply{}, taskProblem(err)
	}
	return reply{}, s.awaitTask(r, id)
}

// awaitTask waits for a task's end; the error is that with which it failed.
func (s *Server) awaitTask(r *request, id string) error {
	deadline := time.After(cancelWait)
	const every = 50 * time.Millisecond
	for {
		t, err := s.Tasks.Get(r.Context(), id)
		switch {
		case err != nil:
			return taskProblem(err)
		case t.Status.Failed:
			return problem{status: http.StatusInternalServerError, message: t.Status.Status}
		case t.Status.Completed:
			return nil
		}
		select {
		case <-r.Context().Done():
			return r.Context().Err()
		case <-deadline:
			return nil
		case <-time.After(every):
		}
	}
}

// propertiesMost is how much of a log is read for properties.
const propertiesMost = 50 << 20

// jobProperties reads what a container of a job says to the pipeline in its
// log (read-rest.md 2.4). Orca takes every failure for "nothing".
func (s *Server) jobProperties(r *request) (reply, error) {
	return model(s.propertiesOfJob(r))
}

func (s *Server) propertiesOfJob(r *request) map[string]any {
	none := map[string]any{}
	q, err := s.jobOf(r)
	if err != nil {
		return none
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.Limits.LogTimeout)
	defer cancel()
	job, err := s.readJob(r, q)
	if err != nil {
		return none
	}
	pods, err := livePods(ctx, q.client, job)
	if err != nil || len(pods) == 0 {
		return none
	}
	return s.properties(ctx, q.client, q.location, bestPod(pods), r.path["container"])
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
func (s *Server) podProperties(r *request) (reply, error) {
	p := r.segments("account", "namespace", "pod", "container")
	none := map[string]any{}
	a, known := s.Accounts.Get(p[0])
	if !known || !a.AllowsNamespace(a.NamespaceFor(p[1])) {
		return model(none)
	}
	client, err := s.Clients.Client(p[0])
	if err != nil {
		return model(none)
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.Limits.LogTimeout)
	defer cancel()
	return model(s.properties(ctx, client, a.NamespaceFor(p[1]), p[2], p[3]))
}

func (s *Server) properties(ctx context.Context, client Cluster, namespace, pod, container string) map[string]any {
	free, err := s.Memory.Take(view.PropertiesBytes)
	defer free()
	var log io.ReadCloser
	if err == nil {
		log, err = client.Logs(ctx, namespace, pod, container)
	}
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
