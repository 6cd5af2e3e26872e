package task

import (
	"encoding/json"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// ofRows answers for a task of the older Go rewrite as one that is complete:
// what it did was done before its request was answered.
func ofRows(id string, rows []store.Resource) (Task, error) {
	names := map[string][]string{}
	created := []map[string]any{}
	for _, row := range rows {
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
		StartTimeMs: rows[0].Timestamp.UnixMilli(),
	}, nil
}
