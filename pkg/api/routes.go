package api

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/fallback"
	"github.com/datapunchorg/go-clouddriver/pkg/registry"
)

// freshness is what an answer rests on (design, "Freshness").
type freshness int

const (
	_ freshness = iota
	// constant answers tell nothing of clusters.
	constant
	// memory is what the index holds; accounts that it proves nothing of are
	// marked. A route that names an account waits for its first lists.
	memory
	// object is one object: from memory where that proves it, else read live.
	object
	// set is server groups of one account that Orca decides on: from memory
	// where that proves them, else from a list of the account as it is now.
	set
	// live answers are read from the cluster, or from the database.
	live
)

// within is the deadline of what an answer may wait for, well below the time in
// which the service has to send it; 0 for none but that of what it calls.
func (f freshness) within() time.Duration {
	switch f {
	case object, set:
		return 25 * time.Second
	default:
		return 0
	}
}

// budgeted is what a request takes a place of while it is answered.
type budgeted int

const (
	_ budgeted = iota
	// none is for probes and whatever must be answered in any case.
	none
	reads
	writes
	// logs are slow and large.
	logs
	streams
	// fetches wait for servers that are not ours, and are large.
	fetches
)

// side says who answers where there is another Clouddriver.
type side int

const (
	_ side = iota
	ours
	theirs
	// byAccount goes by the account in the path, byProvider by the provider.
	byAccount
	byProvider
	// firstOurs is theirs where we know nothing.
	firstOurs
	// byOperations and byBody go by the accounts that the body names.
	byOperations
	byBody
	// byStore is ours where there is an artifact store.
	byStore
	// byArtifact goes by the artifact account.
	byArtifact
	// byRegistry goes by the registry that the query names; lists of all have a part
	// of both.
	byRegistry
	// joined lists have a part of both.
	joined
)

// shape is how errors look.
type shape int

const (
	spinnakers shape = iota
	// providerAPI is that of the older rewrite.
	providerAPI
	// people are shown a page.
	people
)

// route is one row of the table: what is asked, who may ask, what holds for the
// answer, and who makes it.
type route struct {
	method, pattern string
	fresh           freshness
	budget          budgeted
	side            side
	may             *access
	handle          handler
	// join is how a joined list is made one.
	join   *fallback.Join
	errors shape
}

// handler answers a decoded request. It neither waits for accounts nor writes to
// the connection.
type handler func(*Server, *request) (reply, error)

const (
	get   = http.MethodGet
	post  = http.MethodPost
	put   = http.MethodPut
	patch = http.MethodPatch
	del   = http.MethodDelete
)

const (
	clusterPath   = "/applications/{application}/clusters/{account}/{cluster}"
	targetPath    = clusterPath + "/{type}/{scope}/serverGroups/target/{target}"
	jobPath       = "/applications/{application}/jobs/{account}/{location}/{id}"
	membersPath   = "/manifests/{account}/{location}/{kind}/cluster/{application}/{cluster}"
	providersPath = "/v1/kubernetes/providers"
)

// routes are all that this service answers, each once.
func routes() []route {
	table := []route{
		{method: get, pattern: "/health", fresh: constant, budget: none, side: ours, may: anyone, handle: (*Server).health},
		{method: get, pattern: "/health/liveness", fresh: constant, budget: none, side: ours, may: anyone, handle: (*Server).liveness},
		{method: get, pattern: "/health/readiness", fresh: constant, budget: none, side: ours, may: anyone, handle: (*Server).readiness},
		{method: get, pattern: "/readyz", fresh: constant, budget: none, side: ours, may: anyone, handle: (*Server).ready},
		{method: get, pattern: "/info", fresh: constant, budget: none, side: ours, may: anyone, handle: (*Server).info},
		{method: get, pattern: "/openapi.json", fresh: constant, budget: none, side: ours, may: anyone, handle: (*Server).openAPI},
		{method: get, pattern: "/metrics", fresh: constant, budget: none, side: ours, may: anyone, handle: (*Server).metrics},

		{method: get, pattern: "/", fresh: memory, budget: reads, side: ours, may: filtered, errors: people, handle: (*Server).pageApplications},
		{method: get, pattern: "/ui", fresh: memory, budget: reads, side: ours, may: filtered, errors: people, handle: (*Server).pageApplications},
		{method: get, pattern: "/ui/applications", fresh: memory, budget: reads, side: ours, may: filtered, errors: people, handle: (*Server).pageApplications},
		{method: get, pattern: "/ui/applications/{application}", fresh: memory, budget: reads, side: ours, may: applicationReaders, errors: people, handle: (*Server).pageApplication},
		{method: get, pattern: "/ui/applications/{application}/history", fresh: live, budget: reads, side: ours, may: applicationReaders, errors: people, handle: (*Server).pageHistory},
		{method: get, pattern: "/ui/applications/{application}/serverGroups/{account}/{region}/{name}", fresh: memory, budget: reads, side: ours, may: readersOfAccountAndResult, errors: people, handle: (*Server).pageServerGroup},
		{method: get, pattern: "/ui/accounts", fresh: constant, budget: reads, side: ours, may: filtered, errors: people, handle: (*Server).pageAccounts},
		{method: get, pattern: "/ui/accounts/{account}", fresh: constant, budget: reads, side: ours, may: accountReaders, errors: people, handle: (*Server).pageAccount},
		{method: get, pattern: "/ui/tasks", fresh: live, budget: reads, side: ours, may: filtered, errors: people, handle: (*Server).pageTasks},
		{method: get, pattern: "/ui/tasks/{id}", fresh: live, budget: reads, side: ours, may: taskReaders, errors: people, handle: (*Server).pageTask},
		{method: get, pattern: "/ui/search", fresh: memory, budget: reads, side: ours, may: filtered, errors: people, handle: (*Server).pageSearch},
		{method: get, pattern: "/ui/figures", fresh: constant, budget: reads, side: ours, may: filtered, errors: people, handle: (*Server).pageFigures},
		{method: get, pattern: "/ui/assets/{name}", fresh: constant, budget: reads, side: ours, may: anyone, errors: people, handle: (*Server).pageAsset},

		{method: get, pattern: "/applications", fresh: memory, budget: reads, side: joined, may: unlessUnrestricted, join: fallback.Applications, handle: (*Server).applications},
		{method: get, pattern: "/applications/{application}", fresh: memory, budget: reads, side: joined, may: applicationReaders, join: fallback.Application, handle: (*Server).application},
		{method: get, pattern: "/applications/{application}/clusters", fresh: memory, budget: reads, side: joined, may: applicationReaders, join: fallback.ByAccount, handle: (*Server).clusterNames},
		{method: get, pattern: "/applications/{application}/serverGroups", fresh: memory, budget: reads, side: joined, may: applicationReaders, join: fallback.ByPlace, handle: (*Server).applicationServerGroups},
		{method: get, pattern: "/applications/{application}/serverGroupManagers", fresh: memory, budget: reads, side: joined, may: applicationReaders, join: fallback.ByPlace, handle: (*Server).serverGroupManagers},
		{method: get, pattern: "/applications/{application}/loadBalancers", fresh: memory, budget: reads, side: joined, may: applicationReaders, join: fallback.ByName, handle: (*Server).applicationLoadBalancers},
		{method: get, pattern: "/applications/{application}/rawResources", fresh: memory, budget: reads, side: joined, may: applicationReaders, join: fallback.ByPlace, handle: (*Server).rawResources},
		{method: get, pattern: "/applications/{application}/stream", fresh: memory, budget: streams, side: ours, may: applicationReaders, handle: (*Server).stream},
		{method: get, pattern: "/applications/{application}/history", fresh: live, budget: reads, side: ours, may: applicationReaders, handle: (*Server).history},
		{method: get, pattern: "/serverGroups", fresh: memory, budget: reads, side: joined, may: filtered, join: fallback.ByPlace, handle: (*Server).serverGroups},
		{method: get, pattern: "/search", fresh: memory, budget: reads, side: joined, may: filtered, join: fallback.Search(askForHits), handle: (*Server).search},
		{method: get, pattern: "/projects/{project}/clusters", fresh: memory, budget: reads, side: joined, may: filtered, join: fallback.Projects, handle: (*Server).projectClusters},

		{method: get, pattern: "/applications/{application}/clusters/{account}", fresh: set, budget: reads, side: byAccount, may: readersOfBoth, handle: (*Server).clusterSummaries},
		{method: get, pattern: clusterPath, fresh: set, budget: reads, side: byAccount, may: readersOfBoth, handle: (*Server).clusterArray},
		{method: get, pattern: clusterPath + "/{type}", fresh: set, budget: reads, side: byAccount, may: readersOfBoth, handle: (*Server).cluster},
		{method: get, pattern: clusterPath + "/{type}/serverGroups", fresh: set, budget: reads, side: byAccount, may: readersOfBoth, handle: (*Server).clusterServerGroups},
		{method: get, pattern: clusterPath + "/{type}/serverGroups/{name}", fresh: set, budget: reads, side: byAccount, may: readersOfBoth, handle: (*Server).clusterServerGroup},
		{method: get, pattern: targetPath, fresh: set, budget: reads, side: byAccount, may: readersOfBoth, handle: (*Server).target},
		{method: get, pattern: targetPath + "/{summary}", fresh: set, budget: reads, side: byAccount, may: readersOfBoth, handle: (*Server).targetSummary},
		{method: get, pattern: "/applications/{application}/serverGroups/{account}/{region}/{name}", fresh: object, budget: reads, side: byAccount, may: readersOfAccountAndResult, handle: (*Server).serverGroup},
		{method: get, pattern: "/serverGroups/{account}/{region}/{name}", fresh: object, budget: reads, side: byAccount, may: readersOfAccountAndResult, handle: (*Server).serverGroup},

		{method: get, pattern: "/{provider}/loadBalancers", fresh: memory, budget: reads, side: byProvider, may: filtered, handle: (*Server).loadBalancers},
		{method: get, pattern: "/{provider}/loadBalancers/{name}", fresh: constant, budget: reads, side: byProvider, may: filtered, handle: (*Server).loadBalancersByName},
		{method: get, pattern: "/{provider}/loadBalancers/{account}/{region}/{name}", fresh: object, budget: reads, side: byAccount, may: accountReaders, handle: (*Server).loadBalancer},
		{method: get, pattern: "/securityGroups", fresh: memory, budget: reads, side: joined, may: filtered, join: fallback.ByAccount, handle: (*Server).allSecurityGroups},
		{method: get, pattern: "/securityGroups/{account}", fresh: memory, budget: reads, side: byAccount, may: accountReaders, handle: (*Server).accountSecurityGroups},
		{method: get, pattern: "/securityGroups/{account}/{provider}", fresh: memory, budget: reads, side: byAccount, may: accountReaders, handle: (*Server).providerSecurityGroups},
		{method: get, pattern: "/securityGroups/{account}/{provider}/{name}", fresh: memory, budget: reads, side: byAccount, may: accountReaders, handle: (*Server).namedSecurityGroups},
		{method: get, pattern: "/securityGroups/{account}/{provider}/{region}/{name}", fresh: object, budget: reads, side: byAccount, may: accountReaders, handle: (*Server).securityGroup},

		{method: get, pattern: "/manifests/{account}/{name}", fresh: object, budget: reads, side: byAccount, may: readersOfAccountAndResult, handle: (*Server).manifest},
		{method: get, pattern: "/manifests/{account}//{name}", fresh: object, budget: reads, side: byAccount, may: readersOfAccountAndResult, handle: (*Server).manifest},
		{method: get, pattern: "/manifests/{account}/{location}/{name}", fresh: object, budget: reads, side: byAccount, may: readersOfAccountAndResult, handle: (*Server).manifest},
		{method: get, pattern: membersPath, fresh: live, budget: reads, side: byAccount, may: readersOfBoth, handle: (*Server).siblings},
		{method: get, pattern: membersPath + "/dynamic/{criteria}", fresh: live, budget: reads, side: byAccount, may: readersOfBoth, handle: (*Server).dynamicTarget},
		{method: get, pattern: "/instances/{account}/{region}/{id}", fresh: object, budget: reads, side: byAccount, may: accountReaders, handle: (*Server).instance},
		{method: get, pattern: "/instances/{account}/{region}/{id}/console", fresh: live, budget: logs, side: byAccount, may: accountReaders, handle: (*Server).console},
		{method: get, pattern: jobPath, fresh: object, budget: reads, side: byAccount, may: readersOfBoth, handle: (*Server).job},
		{method: post, pattern: jobPath, fresh: object, budget: reads, side: byAccount, may: readersOfBoth, handle: (*Server).job}, // as Gate asks
		{method: del, pattern: jobPath, fresh: live, budget: writes, side: byAccount, may: jobEnders, handle: (*Server).cancelJob},
		{method: get, pattern: jobPath + "/{container}", fresh: live, budget: logs, side: byAccount, may: readersOfBoth, handle: (*Server).jobProperties},
		{method: get, pattern: "/applications/{application}/kubernetes/pods/{account}/{namespace}/{pod}/{container}", fresh: live, budget: logs, side: byAccount, may: readersOfBoth, handle: (*Server).podProperties},

		{method: post, pattern: "/{provider}/ops", fresh: live, budget: writes, side: byOperations, may: operators, handle: (*Server).operate},
		{method: post, pattern: "/{provider}/ops/{name}", fresh: live, budget: writes, side: byOperations, may: operators, handle: (*Server).operate},
		{method: post, pattern: "/ops", fresh: live, budget: writes, side: byOperations, may: operators, handle: (*Server).operate},
		{method: post, pattern: "/ops/{name}", fresh: live, budget: writes, side: byOperations, may: operators, handle: (*Server).operate},
		{method: get, pattern: "/task", fresh: live, budget: reads, side: joined, may: filtered, join: fallback.Tasks, handle: (*Server).tasks},
		{method: get, pattern: "/task/{id}", fresh: live, budget: reads, side: firstOurs, may: taskReaders, handle: (*Server).task},
		{method: post, pattern: "/task/{id}", fresh: live, budget: writes, side: firstOurs, may: taskWriters, handle: (*Server).resume},
		{method: patch, pattern: "/{provider}/task/{id}", fresh: live, budget: writes, side: firstOurs, may: taskWriters, handle: (*Server).markTask},
		{method: post, pattern: "/{provider}/task/{id}/restart", fresh: live, budget: writes, side: firstOurs, may: taskWriters, handle: (*Server).restartTask},
		{method: get, pattern: "/{provider}/task/{id}/owner", fresh: live, budget: reads, side: firstOurs, may: taskReaders, handle: (*Server).taskOwner},

		{method: get, pattern: "/credentials", fresh: constant, budget: reads, side: joined, may: anyone, join: fallback.Accounts, handle: (*Server).credentials},
		{method: get, pattern: "/credentials/{account}", fresh: constant, budget: reads, side: byAccount, may: anyone, handle: (*Server).credential},
		{method: get, pattern: "/credentials/{account}/authorized", fresh: constant, budget: reads, side: byAccount, may: accountWriters, handle: (*Server).credential},
		{method: get, pattern: "/credentials/type/{type}", fresh: live, budget: reads, side: ours, may: managers, handle: (*Server).definitions},
		{method: post, pattern: "/credentials", fresh: live, budget: writes, side: ours, may: managers, handle: (*Server).createDefinition},
		{method: put, pattern: "/credentials", fresh: live, budget: writes, side: ours, may: managers, handle: (*Server).putDefinition},
		{method: put, pattern: "/credentials/{account}", fresh: live, budget: writes, side: ours, may: managers, handle: (*Server).updateDefinition},
		{method: del, pattern: "/credentials/{account}", fresh: live, budget: writes, side: ours, may: managers, handle: (*Server).deleteDefinition},
		{method: get, pattern: "/credentials/{account}/history", fresh: live, budget: reads, side: ours, may: managers, handle: (*Server).definitionHistory},
		{method: get, pattern: providersPath, fresh: live, budget: reads, side: ours, may: administrators, errors: providerAPI, handle: (*Server).listProviders},
		{method: post, pattern: providersPath, fresh: live, budget: writes, side: ours, may: administrators, errors: providerAPI, handle: (*Server).createProvider},
		{method: put, pattern: providersPath, fresh: live, budget: writes, side: ours, may: administrators, errors: providerAPI, handle: (*Server).putProvider},
		{method: get, pattern: providersPath + "/{name}", fresh: live, budget: reads, side: ours, may: administrators, errors: providerAPI, handle: (*Server).getProvider},
		{method: del, pattern: providersPath + "/{name}", fresh: live, budget: writes, side: ours, may: administrators, errors: providerAPI, handle: (*Server).deleteProvider},
		{method: put, pattern: providersPath + "/{name}/resources", fresh: set, budget: writes, side: ours, may: administrators, errors: providerAPI, handle: (*Server).loadResources},
		{method: del, pattern: providersPath + "/{name}/resources", fresh: live, budget: writes, side: ours, may: administrators, errors: providerAPI, handle: (*Server).deleteResources},

		{method: get, pattern: "/artifacts/credentials", fresh: constant, budget: reads, side: joined, may: anyone, join: fallback.Unique, handle: (*Server).artifactAccounts},
		{method: put, pattern: "/artifacts/fetch", fresh: live, budget: fetches, side: byArtifact, may: anyone, handle: (*Server).fetchArtifact},
		{method: get, pattern: "/artifacts/account/{account}/names", fresh: live, budget: fetches, side: byArtifact, may: anyone, handle: (*Server).artifactNames},
		{method: get, pattern: "/artifacts/account/{account}/versions", fresh: live, budget: fetches, side: byArtifact, may: anyone, handle: (*Server).artifactVersions},
		{method: get, pattern: "/artifacts/content-address/{application}/{hash}", fresh: live, budget: reads, side: byStore, may: filtered, handle: (*Server).storedArtifact},

		{method: get, pattern: "/dockerRegistry/images/find", fresh: constant, budget: reads, side: byRegistry, may: registryFinders, join: fallback.ByPlace, handle: findTags(registry.Images)},
		{method: get, pattern: "/dockerRegistry/images/tags", fresh: constant, budget: reads, side: byRegistry, may: registryReaders, join: fallback.ByPlace, handle: listTags(registry.Images)},
		{method: get, pattern: "/dockerRegistry/charts/find", fresh: constant, budget: reads, side: byRegistry, may: registryFinders, join: fallback.ByPlace, handle: findTags(registry.Charts)},
		{method: get, pattern: "/dockerRegistry/charts/tags", fresh: constant, budget: reads, side: byRegistry, may: registryReaders, join: fallback.ByPlace, handle: listTags(registry.Charts)},

		{method: get, pattern: "/installedPlugins", fresh: constant, budget: reads, side: ours, may: anyone, handle: constantly([]any{})},
		{method: get, pattern: "/features/stages", fresh: constant, budget: reads, side: joined, may: anyone, join: fallback.Unique, handle: (*Server).features},
		{method: get, pattern: "/cache/introspection", fresh: constant, budget: reads, side: ours, may: filtered, handle: (*Server).introspection},
		{method: get, pattern: "/cache/{provider}/{type}", fresh: constant, budget: reads, side: byProvider, may: filtered, handle: constantly([]any{})},
		{method: post, pattern: "/cache/{provider}/{type}", fresh: constant, budget: writes, side: byBody, may: filtered, handle: (*Server).refreshCache},
		{method: get, pattern: "/cloudMetrics/{provider}/{account}/{region}", fresh: constant, budget: reads, side: byAccount, may: accountReaders, handle: (*Server).noCloudMetrics},
		{method: get, pattern: "/cloudMetrics/{provider}/{account}/{region}/{metric}/statistics", fresh: constant, budget: reads, side: byAccount, may: accountReaders, handle: (*Server).noCloudMetrics},
	}
	for _, s := range statics {
		may := filtered
		switch {
		case strings.Contains(s.pattern, "{application}"):
			may = applicationReaders
		case strings.Contains(s.pattern, "{account}"):
			may = accountReaders
		}
		table = append(table, route{method: get, pattern: s.pattern, fresh: constant, budget: reads, side: theirs, may: may, handle: s.answer})
	}
	for pattern, text := range absences {
		table = append(table, route{method: get, pattern: pattern, fresh: constant, budget: reads, side: theirs, may: filtered, handle: absent(text)})
	}
	return table
}

// check refuses a route that leaves a column empty.
func (r route) check() error {
	switch {
	case r.method == "", r.pattern == "", r.handle == nil:
		return fmt.Errorf("a route without method, pattern or handler: %s %s", r.method, r.pattern)
	case r.fresh == 0, r.budget == 0, r.side == 0:
		return fmt.Errorf("route %s %s: one of freshness, budget and side is not said", r.method, r.pattern)
	case r.may == nil:
		return fmt.Errorf("route %s %s: who may ask is not said", r.method, r.pattern)
	case r.may.application != "" && !strings.Contains(r.pattern, "{application}"), r.may.account != "" && !strings.Contains(r.pattern, "{account}"):
		return fmt.Errorf("route %s %s: what is asked for has no name in the path", r.method, r.pattern)
	case r.join != nil && r.join.Filter == nil && r.may != anyone:
		return fmt.Errorf("route %s %s: its join does not filter what callers may not see", r.method, r.pattern)
	case (r.side == joined || r.side == byRegistry) != (r.join != nil):
		return fmt.Errorf("route %s %s: a joined list needs a join, and only that", r.method, r.pattern)
	}
	return nil
}
