package task

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// ofRows answers for a task of the older Go rewrite as one that is complete:
// what it did was done before its request was answered.
func ofRows(id string, rows []store.Resource) (Task, error) {
	names := map[string][]string{}
	created := []map[string]any{}
	accounts := map[string]bool{}
	for _, row := range rows {
		accounts[row.AccountName] = true
		names[row.Namespace] = append(names[row.Namespace], spinnaker.FullName(spinnaker.KindText(row.APIGroup, row.Kind), row.Name))
		if row.TaskType == "" {
			name := row.ArtifactName
			if name == "" {
				name = row.Name
			}
			created = append(created, map[string]any{
				"customKind": false, "type": spinnaker.KubernetesArtifactPrefix + spinnaker.KindText(row.APIGroup, row.Kind), "name": name,
				"location": row.Namespace, "reference": row.Name, "metadata": map[string]any{"account": row.AccountName},
			})
		}
	}
	result, err := json.Marshal(map[string]any{
		"manifestNamesByNamespace": names, "manifestNamesByNamespaceToRefresh": names, "manifests": []any{},
		"createdArtifacts": created, "boundArtifacts": []any{},
	})
	if err != nil {
		return Task{}, err
	}
	return Task{
		ID: id, Status: Status{Complete: true, Completed: true, Phase: PhaseOrchestration, Status: "Orchestration completed."},
		History:       []Line{{PhaseOrchestration, "Orchestration completed."}},
		ResultObjects: []json.RawMessage{result}, Outputs: []string{}, SagaIDs: []string{},
		StartTimeMs: rows[0].Timestamp.UnixMilli(), Accounts: slices.Sorted(maps.Keys(accounts)),
	}, nil
}

// olderRow is the row that the older Go rewrite would have written
// (operations.md 7.1).
func olderRow(taskID, accountName string, s *operation.Step, o *operation.Outcome, plan *operation.Plan) store.Resource {
	row := store.Resource{
		AccountName: accountName, ID: uuid.NewString(), Timestamp: time.Now().UTC(), TaskID: taskID, TaskType: s.TaskType,
		Name: s.Name, Namespace: s.Namespace, Kind: s.Kind, SpinnakerApp: s.Application,
	}
	if o.Object != nil {
		row.Name, row.Namespace = o.Object.GetName(), o.Object.GetNamespace()
	}
	if s.TaskType != "noop" {
		row.APIGroup, row.Version, row.Resource = o.Resource.Group, o.Resource.Version, o.Resource.Plural
	}
	switch {
	case s.TaskType == "delete":
		row.Cluster = olderCluster(s.Kind, s.Name)
	case s.TaskType == "cleanup":
		row.Cluster = s.Cluster
	case s.Manifest != nil && plan.Result != nil && plan.Result.Job:
		row.Kind = "job"
	case s.Manifest != nil:
		row.ArtifactName, row.Cluster = s.Artifact, olderCluster(s.Kind, s.Artifact)
	}
	return row
}

// olderCluster is the older rewrite's text of a cluster, for the kinds that it
// gives one.
func olderCluster(kind, name string) string {
	switch kind {
	case "Deployment", "StatefulSet", "ReplicaSet", "Ingress", "Service", "DaemonSet":
		return strings.ToLower(kind[:1]) + kind[1:] + " " + name
	}
	return ""
}
