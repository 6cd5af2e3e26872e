package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
)

// Target asks for one server group of a cluster by its place among the others
// (read-lists.md 4; spinnaker/clouddriver, ClusterController).
type Target struct {
	Account, Cluster, Type, Scope, Name string
	OnlyEnabled, ValidateOldest         bool
}

// NotFoundError is a question whose answer is that there is none; its text is
// the contract's.
type NotFoundError string

func (e NotFoundError) Error() string { return string(e) }

// Resolve picks the target among the cluster's server groups.
func Resolve(t Target, groups []index.Group) (index.Group, error) {
	var candidates []index.Group
	for _, g := range groups {
		if g.Namespace != t.Scope || g.Created == 0 {
			continue
		}
		if _, disabled := traffic(g); disabled && t.OnlyEnabled {
			continue
		}
		candidates = append(candidates, g)
	}
	slices.SortFunc(candidates, newestFirst)

	notFound := NotFoundError(fmt.Sprintf("Target not found (target: %s)", t.Name))
	var pick string
	name := strings.ToLower(t.Name)
	name = strings.TrimSuffix(strings.TrimSuffix(name, "_asg_dynamic"), "_asg")
	switch name {
	case "current", "newest":
		pick = "current"
	case "previous", "ancestor":
		pick = "previous"
	case "oldest", "largest", "fail":
		pick = name
	default:
		return index.Group{}, notFound
	}
	n := len(candidates)
	if n == 0 {
		return index.Group{}, NotFoundError(fmt.Sprintf("No server groups found (account: %s, location: %s, cluster: %s, type: %s)",
			t.Account, t.Scope, t.Cluster, strings.ToUpper(t.Type)))
	}
	switch pick {
	case "current":
		return candidates[0], nil
	case "previous":
		if n == 1 {
			return index.Group{}, notFound
		}
		return candidates[1], nil
	case "oldest":
		if n == 1 && t.ValidateOldest {
			return index.Group{}, notFound
		}
		return candidates[n-1], nil
	case "largest":
		// The first of several equally large ones is the newest.
		return slices.MaxFunc(candidates, func(a, b index.Group) int { return cmp.Compare(len(a.Instances), len(b.Instances)) }), nil
	default:
		if n > 1 {
			return index.Group{}, tooMany(t, candidates)
		}
		return candidates[0], nil
	}
}

// newestFirst orders by creation time; its one-second resolution leaves ties,
// which the higher sequence and then the name break.
func newestFirst(a, b index.Group) int {
	return cmp.Or(
		cmp.Compare(b.Created, a.Created),
		cmp.Compare(b.Moniker().Sequence, a.Moniker().Sequence),
		cmp.Compare(b.Name, a.Name),
	)
}

func tooMany(t Target, candidates []index.Group) error {
	var names []string
	for _, g := range candidates {
		names = append(names, g.FullName())
	}
	slices.Sort(names)
	return NotFoundError(fmt.Sprintf("More than one target found (scope: %s, serverGroups: %s)", t.Scope, strings.Join(names, ", ")))
}

// ImageSummary renders what Orca's find-image stage reads of a server group.
func ImageSummary(g index.Group) []byte {
	return encode(map[string]any{"summaries": []any{map[string]any{"serverGroupName": g.Name, "buildInfo": imagesOf(g)}}})
}
