package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Validate returns every mistake, each naming its key.
func (c *Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if c.Server.Port < 0 || c.Server.Port > 65535 {
		bad("server.port", "%d is not a TCP port (0 to 65535)", c.Server.Port)
	}
	for key, n := range map[string]int64{
		"server.maxInFlight": int64(c.Server.MaxInFlight), "server.maxStreams": int64(c.Server.MaxStreams), "server.maxLogs": int64(c.Server.MaxLogs), "server.memory": c.Server.Memory, "server.notSyncedDeadline": int64(c.Server.NotSyncedDeadline),
		"server.logTimeout": int64(c.Server.LogTimeout), "artifacts.maxBytes": c.Artifacts.MaxBytes, "artifacts.maxFetches": int64(c.Artifacts.MaxFetches),
		"server.shutdownTimeout": int64(c.Server.ShutdownTimeout),
		"watch.requestTimeout":   int64(c.Watch.RequestTimeout), "watch.stuckAfter": int64(c.Watch.StuckAfter),
		"watch.pingAfter": int64(c.Watch.PingAfter), "watch.maxListBytes": c.Watch.MaxListBytes, "watch.maxListObjects": int64(c.Watch.MaxListObjects),
		"watch.startWithin": int64(c.Watch.StartWithin), "watch.giveUpAfter": int64(c.Watch.GiveUpAfter), "cache.bytes": c.Cache.Bytes,
	} {
		if n <= 0 {
			bad(key, "must be more than 0")
		}
	}
	if c.Watch.StartConcurrency < 0 {
		bad("watch.startConcurrency", "must not be less than 0")
	}
	if c.Snapshots.Every < time.Second {
		bad("snapshots.every", "must be 1s or more")
	}
	if c.Snapshots.MaxAge < c.Snapshots.Every {
		bad("snapshots.maxAge", "must not be less than snapshots.every")
	}
	for key, n := range map[string]int64{
		"services.fiat.connectTimeoutMs": int64(c.Services.Fiat.ConnectTimeoutMs), "services.fiat.readTimeoutMs": int64(c.Services.Fiat.ReadTimeoutMs),
		"services.fiat.cache.maxEntries": int64(c.Services.Fiat.Cache.MaxEntries), "services.fiat.cache.expiresAfterWriteSeconds": int64(c.Services.Fiat.Cache.AfterSeconds),
		"services.fiat.retry.initialBackoffMillis": int64(c.Services.Fiat.Retry.InitialMillis),
		"fallback.timeout":                         int64(c.Fallback.Timeout), "fallback.listTimeout": int64(c.Fallback.ListTimeout), "fallback.maxInFlight": int64(c.Fallback.MaxInFlight),
		"tracing.timeout": int64(c.Tracing.Timeout), "services.arcade.timeout": int64(c.Services.Arcade.Timeout), "services.front50.timeout": int64(c.Services.Front50.Timeout), "services.arcade.tokenTTL": int64(c.Services.Arcade.TokenTTL),
		"database.maxOpen": int64(c.Database.MaxOpen), "database.connectTimeout": int64(c.Database.ConnectTimeout),
		"database.timeout": int64(c.Database.Timeout), "database.migrationTimeout": int64(c.Database.MigrationTimeout),
		"database.pollEvery": int64(c.Database.PollEvery), "database.cleanUp.olderThan": int64(c.Database.CleanUp.OlderThan),
		"tasks.maxWaiting": int64(c.Tasks.MaxWaiting), "tasks.maxBytes": c.Tasks.MaxBytes, "tasks.perAccount": int64(c.Tasks.PerAccount), "tasks.lease": int64(c.Tasks.Lease),
		"tasks.deleteTimeout": int64(c.Tasks.DeleteTimeout), "tasks.keepFor": int64(c.Tasks.KeepFor), "tasks.keepWrites": int64(c.Tasks.KeepWrites),
		"tasks.followEvery":      int64(c.Tasks.FollowEvery),
		"database.cleanUp.batch": int64(c.Database.CleanUp.Batch), "database.port": int64(c.Database.Port),
	} {
		if n <= 0 {
			bad(key, "must be more than 0")
		}
	}
	switch c.Database.TLS {
	case "", "false", "true", "skip-verify", "preferred":
	default:
		bad("database.tls", "%q is none of false, true, skip-verify, preferred", c.Database.TLS)
	}
	if store := c.ArtifactStore; store.S3.Enabled && store.S3.Bucket == "" {
		bad("artifactStore.s3.bucket", "must be given with artifactStore.s3.enabled")
	} else if store.S3.Enabled && store.Type != "s3" {
		bad("artifactStore.type", "%q is not supported, only s3", store.Type)
	}
	if !slices.Contains([]string{"true", "false", "suspend"}, c.Jobs.CancelDeletes) {
		bad("jobs.cancelDeletes", "%q is none of true, false, suspend", c.Jobs.CancelDeletes)
	}
	if c.Database.Path == "" && !c.Database.MySQL() {
		bad("database.path", "must name a file when MySQL is not used")
	}
	if c.Accounts.TokenKeys != "" && c.Accounts.TokenKeysFile != "" {
		bad("accounts.tokenKeys", "at most one of tokenKeys and tokenKeysFile can be set")
	}
	for key, u := range map[string]string{"tracing.endpoint": c.Tracing.used(), "services.arcade.baseUrl": c.Services.Arcade.URL, "services.front50.baseUrl": c.Services.Front50.URL, "services.fiat.baseUrl": c.Services.Fiat.URL, "fallback.baseUrl": c.Fallback.URL} {
		if parsed, err := url.Parse(u); u != "" && (err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https")) {
			bad(key, "is not an http or https address")
		}
	}
	if c.Fallback.ListTimeout >= time.Minute {
		bad("fallback.listTimeout", "must be less than 1m, which is how long an answer may take in all")
	}
	if b := c.Kubernetes.ArtifactBinding.DockerImage; b != "match-name-and-tag" && b != matchNameOnly {
		bad("kubernetes.artifactBinding.dockerImage", "%q is neither match-name-and-tag nor match-name-only", b)
	}
	if c.Admin.Port < 0 || c.Admin.Port > 65535 || c.Admin.Port != 0 && c.Admin.Port == c.Server.Port {
		bad("admin.port", "%d is not a TCP port (0 to 65535) other than server.port", c.Admin.Port)
	}
	if p := c.Server.HealthPort; p < 0 || p > 65535 || p != 0 && (p == c.Server.Port || p == c.Admin.Port) {
		bad("server.healthPort", "%d is not a TCP port (0 to 65535) other than server.port and admin.port", p)
	}
	c.Server.SSL.check(bad)
	if c.Tracing.Ratio < 0 || c.Tracing.Ratio > 1 {
		bad("tracing.ratio", "%v is not between 0 and 1", c.Tracing.Ratio)
	}
	if c.Server.ShutdownGrace < 0 {
		bad("server.shutdownGrace", "must not be negative")
	}
	if c.Admin.Tasks.ShutdownWaitSeconds < 0 {
		bad("admin.tasks.shutdownWaitSeconds", "must not be negative")
	}
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		bad("log.level", "%q is none of debug, info, warn, error", c.Log.Level)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		bad("log.format", "%q is neither text nor json", c.Log.Format)
	}
	errs = append(errs, c.Kubernetes.validate()...)
	return errors.Join(errs...)
}

func (k *Kubernetes) validate() []error {
	var errs []error
	seen := map[string]bool{}
	for i, a := range k.Accounts {
		key := fmt.Sprintf("kubernetes.accounts[%d]", i)
		bad := func(field, text string) { errs = append(errs, fmt.Errorf("%s%s: %s", key, field, text)) }
		switch {
		case strings.TrimSpace(a.Name) == "":
			bad(".name", "Account name for Kubernetes provider missing.")
		case seen[a.Name]:
			bad(".name", fmt.Sprintf("%q is used twice", a.Name))
		}
		seen[a.Name] = true
		if len(a.Namespaces) > 0 && len(a.OmitNamespaces) > 0 {
			bad("", "At most one of 'namespaces' and 'omitNamespaces' can be specified")
		}
		if len(a.Kinds) > 0 && len(a.OmitKinds) > 0 {
			bad("", "At most one of 'kinds' and 'omitKinds' can be specified")
		}
		if len(a.RawResources.KindExpressions) > 0 && len(a.RawResources.OmitKindExpressions) > 0 {
			bad(".rawResourcesEndpointConfig", "At most one of 'kindExpressions' and 'omitKindExpressions' can be specified")
		}
		for j, r := range a.CustomResources {
			if name, group, ok := strings.Cut(r.KubernetesKind, "."); !ok || name == "" || group == "" {
				bad(fmt.Sprintf(".customResources[%d].kubernetesKind", j), fmt.Sprintf("%q is not kind.group", r.KubernetesKind))
			}
			if r.SpinnakerKind != "" && !r.SpinnakerKind.Valid() {
				bad(fmt.Sprintf(".customResources[%d].spinnakerKind", j), fmt.Sprintf("%q is not a Spinnaker kind", r.SpinnakerKind))
			}
		}
	}
	return errs
}
