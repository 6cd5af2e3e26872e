package fallback

import (
	"fmt"
	"slices"
	"strings"
)

// Whose says who answers a request.
type Whose int

// Who answers.
const (
	Ours Whose = iota
	Theirs
	// OursFirst is theirs where we know nothing.
	OursFirst
	// Joined is a list that both have a part of.
	Joined
)

// neverTheirs are the first segments of paths that tell about a process of
// Java's, or change it: Spring's actuators, and the routes of administrators.
var neverTheirs = []string{
	"actuator", "admin", "aop-metrics", "auditevents", "autoconfig", "beans", "caches", "conditions", "configprops", "dump", "env", "flyway", "health", "heapdump",
	"httpexchanges", "httptrace", "info", "integrationgraph", "jolokia", "liquibase", "logfile", "loggers", "mappings", "metrics", "openapi.json", "pause", "prometheus",
	"quartz", "readyz", "refresh", "resolvedenv", "restart", "resume", "sbom", "scheduledtasks", "sessions", "shutdown", "spectator", "startup", "threaddump", "trace", "version",
}

// MayHandOver says whether a path may be handed over at all, as Java reads it,
// which takes off what follows a semicolon.
func MayHandOver(path string) bool {
	var segments []string
	for segment := range strings.SplitSeq(path, "/") {
		segment, _, _ = strings.Cut(segment, ";")
		switch segment {
		case "":
		case ".", "..":
			return false // it leads elsewhere
		default:
			segments = append(segments, strings.ToLower(segment))
		}
	}
	switch {
	case len(segments) == 0, slices.Contains(neverTheirs, segments[0]):
		return false
	case len(segments) > 1 && segments[0] == "v1" && segments[1] == "kubernetes":
		return false // our provider API
	}
	return true
}

// Operation is what decides who runs one.
type Operation struct {
	Name, Account string
	// Provider is the one that the request names; "" is Kubernetes.
	Provider string
	// Known says that Kubernetes has an operation of this name.
	Known bool
}

// WhoseOperations decides about a request of operations, which all have to
// belong to one of both: the error says which do not. An operation without an
// account is ours, to be refused, if it can only be one of Kubernetes'.
func WhoseOperations(operations []Operation, isOurs func(account string) bool) (Whose, error) {
	var mine, other []string
	for _, o := range operations {
		kubernetes := o.Provider == "" || o.Provider == "kubernetes"
		nameless := o.Account == "" && (o.Provider == "kubernetes" || o.Known)
		switch {
		case kubernetes && nameless:
			mine = append(mine, "(no account)")
		case kubernetes && isOurs(o.Account):
			mine = append(mine, o.Account)
		case o.Account == "":
			other = append(other, o.Name)
		default:
			other = append(other, o.Account)
		}
	}
	switch {
	case len(other) == 0:
		return Ours, nil
	case len(mine) == 0:
		return Theirs, nil
	}
	return Ours, fmt.Errorf("credentials: this service has %s, and the fallback %s: send their operations in requests of their own", strings.Join(mine, ", "), strings.Join(other, ", "))
}
