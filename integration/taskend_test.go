package integration

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestTaskEnds_WhateverCannotBeRecorded has a cluster of six hundred characters,
// which used to be applied again with every lease.
func TestTaskEnds_WhateverCannotBeRecorded(t *testing.T) {
	o := startOps(t, "unrecorded")
	long := strings.Repeat("c", 600)
	m := strings.Replace(o.configMap("long", "{k: v}"), "metadata: {name", "metadata: {annotations: {moniker.spinnaker.io/cluster: "+long+"}, name", 1)
	o.deploy(t, m, "").failed(t, "600 characters")
	if o.exists(t, o.core("configmaps", "long-v000")) {
		t.Error("it was applied before it was refused")
	}
	// What others made so can be deleted.
	apply(t, o.c, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs, namespace: unrecorded, annotations: {moniker.spinnaker.io/cluster: %s}}", long))
	if d := o.run(t, "deleteManifest", o.target("configMap theirs")); d.Status.Failed {
		t.Error(d.raw)
	}
}

// TestSQLiteFileAway_EveryTaskEnds renames the file under load and puts it back.
func TestSQLiteFileAway_EveryTaskEnds(t *testing.T) {
	t.Parallel() // it keeps apart by namespace
	c := pool.Shared(t, 1)[0]
	namespace(t, "renamed", c)
	cfg := settings()
	cfg.Kubernetes.Accounts = javaAccounts(c)
	options := storeOptions(t, nil)
	o := &ops{startShared(t, options, cfg, nil).ready(t), c, "renamed"}
	var ids []string
	for i := range 24 {
		ids = append(ids, o.submit(t, o.body(t, "deployManifest", o.deployFields(t, o.configMap(fmt.Sprintf("cm-%d", i), "{k: v}"), "")), ""))
	}
	if err := os.Rename(options.Path, options.Path+".away"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error {
		for _, path := range []string{"/health", "/health/readiness"} {
			if r := o.get(t, path); r.status != 503 || !strings.Contains(r.body, "not where it was") {
				return fmt.Errorf("%s: %d %s", path, r.status, r.body)
			}
		}
		return nil
	})
	if r := o.post(t, "/kubernetes/ops", o.body(t, "cleanupArtifacts", "manifests: []")); r.status != 503 {
		t.Errorf("%d %s", r.status, r.body)
	}
	const away = 5 * time.Second
	time.Sleep(away)
	if err := os.Rename(options.Path+".away", options.Path); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if d := o.await(t, id); d.Status.Failed {
			t.Errorf("%s", d.raw)
		}
	}
	eventually(t, 10*time.Second, func() error {
		if r := o.get(t, "/health"); r.status != 200 {
			return errors.New(r.body)
		}
		return nil
	})
	o.deploy(t, o.configMap("after", "{k: v}"), "").only(t)
}
