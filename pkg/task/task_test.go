package task

import (
	"slices"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

func TestPhase_IsJavasText(t *testing.T) {
	for name, want := range map[string]string{
		"deployManifest": "DEPLOY_KUBERNETES_MANIFEST", "deleteManifest": "DELETE_KUBERNETES_MANIFEST", "patchManifest": "PATCH_KUBERNETES_MANIFEST",
		"scaleManifest": "SCALE_KUBERNETES_MANIFEST", "undoRolloutManifest": "UNDO_ROLLOUT_KUBERNETES_MANIFEST", "rollingRestartManifest": "ROLLING_RESTART_KUBERNETES_MANIFEST",
		"pauseRolloutManifest": "PAUSE_ROLLOUT_KUBERNETES_MANIFEST", "resumeRolloutManifest": "RESUME_ROLLOUT_KUBERNETES_MANIFEST", "enableManifest": "ENABLE_MANIFEST",
		"disableManifest": "DISABLE_MANIFEST", "runJob": "RUN_KUBERNETES_JOB", "cleanupArtifacts": "CLEANUP_KUBERNETES_ARTIFACTS", "resizeServerGroup": "RESIZE_KUBERNETES_SERVER_GROUP",
	} {
		if got := Phase(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestNewID_IsAULID(t *testing.T) {
	seen := map[string]bool{}
	var ids []string
	for range 1000 {
		id := newID()
		if len(id) != 26 || strings.Trim(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != "" || id[0] > '7' || seen[id] {
			t.Fatal(id)
		}
		seen[id] = true
		ids = append(ids, id[:10])
	}
	if !slices.IsSorted(ids) {
		t.Error("ids do not sort by time")
	}
}

func TestLine_IsCutWhereJavaCuts(t *testing.T) {
	if got := line("P", strings.Repeat("é", 20_000)); len([]rune(got.Status)) != 10_000 {
		t.Error(len([]rune(got.Status)))
	}
}

func TestShown_EveryStateAndNoNull(t *testing.T) {
	for state, want := range map[string]Status{
		store.TaskRunning:   {},
		store.TaskCompleted: {Complete: true, Completed: true},
		store.TaskFailed:    {Complete: true, Completed: true, Failed: true},
		store.TaskRetryable: {Complete: true, Completed: true, Failed: true, Retryable: true},
	} {
		got, err := shown(store.Task{State: state, Kept: true, History: []store.HistoryLine{{Phase: "P", Status: "first"}, {Phase: "Q", Status: "last"}}})
		want.Phase, want.Status = "Q", "last"
		if err != nil || got.Status != want || got.ResultObjects == nil || got.Outputs == nil || got.SagaIDs == nil || got.Retryable != want.Retryable {
			t.Errorf("%s: %+v, %v", state, got, err)
		}
	}
}
