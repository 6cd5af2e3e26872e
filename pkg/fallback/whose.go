package fallback

import (
	"fmt"
	"net/url"
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

// theirs are the first segments of paths that may be handed over: Clouddriver's
// controllers, and the providers that have routes of their own
// (spinnaker/clouddriver, clouddriver-web and the providers' controllers). What
// tells of a process, or changes it, is not among them.
var theirs = []string{
	"applications", "artifacts", "cache", "certificates", "cloudmetrics", "credentials", "dockerregistry", "elasticips", "entitytags", "features", "functions", "images", "instances",
	"instancetypes", "jobs", "keypairs", "loadbalancers", "manifests", "networks", "ops", "projects", "reports", "roles", "search", "securitygroups", "servergroupmanagers", "servergroups",
	"servicebroker", "snapshots", "storage", "subnets", "tags", "task", "tasks", "v1", "vpcs",
	"alicloud", "appengine", "aws", "azure", "cloudfoundry", "cloudrun", "dcos", "docker", "ecs", "gce", "google", "huaweicloud", "kubernetes", "lambda", "openstack", "oracle", "oraclebmcs",
	"tencentcloud", "titus", "yandex",
}

// decodings bounds how often a path may be encoded.
const decodings = 5

// MayHandOver says whether a path may be handed over at all, as the other may read
// it: decoded as often as it is encoded, and without what follows a semicolon.
func MayHandOver(path string) bool {
	for range decodings {
		decoded, err := url.PathUnescape(path)
		if err != nil {
			return false
		}
		if decoded == path {
			return mayHandOver(path)
		}
		path = decoded
	}
	return false // nobody encodes a path so often
}

func mayHandOver(path string) bool {
	var segments []string
	for segment := range strings.SplitSeq(strings.ReplaceAll(path, "\\", "/"), "/") {
		segment, _, _ = strings.Cut(segment, ";")
		switch segment {
		case "":
		case ".", "..":
			return false // it leads elsewhere
		default:
			segments = append(segments, strings.ToLower(strings.TrimSpace(segment)))
		}
	}
	switch {
	case len(segments) == 0, !slices.Contains(theirs, segments[0]):
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
