package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The states of a job, as Orca spells them (spinnaker/clouddriver, JobState).
const (
	JobRunning   = "Running"
	JobSucceeded = "Succeeded"
	JobFailed    = "Failed"
)

// Job is the answer that Orca waits on (read-rest.md 2.3; spinnaker/clouddriver,
// KubernetesJobStatus).
type Job struct {
	Name              string            `json:"name"`
	Account           string            `json:"account"`
	Location          string            `json:"location"`
	Region            string            `json:"region"` // Orca's destroyJob names it
	Provider          string            `json:"provider"`
	JobState          string            `json:"jobState"`
	CreatedTime       int64             `json:"createdTime,omitempty"`
	CompletedTime     int64             `json:"completedTime,omitempty"`
	Message           string            `json:"message,omitempty"`
	Reason            string            `json:"reason,omitempty"`
	FailureDetails    string            `json:"failureDetails,omitempty"`
	Pods              []JobPod          `json:"pods"`
	MostRecentPodName string            `json:"mostRecentPodName,omitempty"`
	CompletionDetails map[string]string `json:"completionDetails"`
}

// JobPod is a pod of a job with its whole status.
type JobPod struct {
	Name   string         `json:"name"`
	Status map[string]any `json:"status"`
}

// NewJobPod takes what a job shows of a pod. Deck reads the status unguarded.
func NewJobPod(pod map[string]any) JobPod {
	name, _, _ := unstructured.NestedString(pod, "metadata", "name")
	status, _ := withoutNulls(pod["status"]).(map[string]any)
	if status == nil {
		status = map[string]any{}
	}
	return JobPod{Name: name, Status: status}
}

// NewJob makes the answer of a job and its pods. Without detailed, the pods are
// left out after everything else was found in them.
func NewJob(account string, job *unstructured.Unstructured, pods []JobPod, detailed bool) Job {
	s := &status{object: job.Object}
	out := Job{
		Name: job.GetName(), Account: account, Location: job.GetNamespace(), Region: job.GetNamespace(), Provider: provider, JobState: JobStateOf(job.Object), Pods: slices.Clone(pods),
		CompletionDetails: map[string]string{"exitCode": "", "signal": "", "message": "", "reason": ""},
	}
	if out.Pods == nil {
		out.Pods = []JobPod{}
	}
	if t := job.GetCreationTimestamp(); !t.IsZero() {
		out.CreatedTime = t.UnixMilli()
	}
	if t, err := time.Parse(time.RFC3339, s.text("status", "completionTime")); err == nil {
		out.CompletedTime = t.UnixMilli()
	}
	slices.SortStableFunc(out.Pods, func(a, b JobPod) int { return cmp.Compare(startOf(a), startOf(b)) })
	if n := len(out.Pods); n > 0 {
		out.MostRecentPodName = out.Pods[n-1].Name
	}
	if out.JobState == JobFailed {
		s.conditions(func(c map[string]any) {
			if is(c, "type", "Failed") && is(c, "status", "True") && out.Reason == "" && out.Message == "" {
				out.Message, _ = c["message"].(string)
				out.Reason, _ = c["reason"].(string)
			}
		})
		out.CompletionDetails["message"], out.CompletionDetails["reason"] = out.Message, out.Reason
		out.FailureDetails = failureDetails(out.Pods)
	}
	if !detailed {
		out.Pods = []JobPod{}
	}
	return out
}

// startOf orders pods; one that has not started is the last.
func startOf(p JobPod) string {
	t, _ := p.Status["startTime"].(string)
	return cmp.Or(t, "~")
}

// JobStateOf is the state of a job.
func JobStateOf(object map[string]any) string {
	if _, reported := object["status"].(map[string]any); !reported {
		return JobRunning
	}
	switch got := StatusOf("job", object); {
	case got.Failed.State:
		return JobFailed
	case got.Stable.State:
		return JobSucceeded
	}
	return JobRunning
}

// failureDetails tells of the first container that ended badly, else of the
// first that is waiting.
func failureDetails(pods []JobPod) string {
	for _, p := range pods {
		var containers []map[string]any
		for _, key := range []string{"initContainerStatuses", "containerStatuses"} {
			list, _ := p.Status[key].([]any)
			for _, c := range list {
				if c, ok := c.(map[string]any); ok {
					containers = append(containers, c)
				}
			}
		}
		for _, kind := range []string{"terminated", "waiting"} {
			for _, c := range containers {
				state, ok, _ := unstructured.NestedMap(c, "state", kind)
				if !ok {
					continue
				}
				code, hasCode := state["exitCode"].(int64)
				if kind == "terminated" && code == 0 {
					continue
				}
				var b strings.Builder
				fmt.Fprintf(&b, "Pod: '%s' had errors.\n Container: '%s' exited with code: ", p.Name, text(c["name"]))
				if hasCode {
					fmt.Fprint(&b, code)
				}
				fmt.Fprintf(&b, ".\n Status: %s.\n Logs: %s", text(state["reason"]), text(state["message"]))
				return b.String()
			}
		}
	}
	return ""
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
