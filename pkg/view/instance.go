package view

import (
	"encoding/json"
	"sync"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
)

// The health states that occur for pods.
const (
	up      = "Up"
	down    = "Down"
	unknown = "Unknown"
)

// healthOf lists the health of the pod and then of its containers
// (read-lists.md 2.9). The list is shared by all pods in one state: it must not be
// changed.
func healthOf(o *index.Object) []health { return healths.of(o.Pod()).entries }

// healths are the lists of the states that pods are in: there are few, and each view
// asks for that of each pod.
var healths healthLists

type healthLists struct {
	mu   sync.RWMutex
	made map[index.PodState]podHealth
}

type podHealth struct {
	entries []health
	// merged is mergedHealth, as it is written.
	merged []byte
}

// mostHealths bounds them; beyond it, all begin anew.
const mostHealths = 4096

func (l *healthLists) of(state index.PodState) podHealth {
	l.mu.RLock()
	made, known := l.made[state]
	l.mu.RUnlock()
	if known {
		return made
	}
	made.entries = healthsIn(state)
	made.merged = encode(mergedHealth(made.entries))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made == nil || len(l.made) >= mostHealths {
		l.made = map[index.PodState]podHealth{}
	}
	l.made[state] = made
	return made
}

func healthsIn(state index.PodState) []health {
	if !state.HasStatus {
		return []health{}
	}
	pod := health{Platform: "platform", Source: "Pod", State: unknown, Type: "kubernetes/pod"}
	switch state.Phase {
	case index.Pending:
		pod.State = down
	case index.Running:
		pod.State = up
	case index.OtherPhase:
	}
	out := []health{pod}
	for _, c := range state.Containers() {
		is := down
		if c.Ready {
			is = up
		}
		out = append(out, health{Platform: "platform", Source: "Container " + c.Name, State: is, Type: "kubernetes/container"})
	}
	return out
}

// stateOf sums the entries up: Up when all that are known are, Down when any
// is, Unknown otherwise.
func stateOf(entries []health) string {
	state := unknown
	for _, e := range entries {
		if e.State == down {
			return down
		}
		if e.State == up {
			state = up
		}
	}
	return state
}

// deciding is the entry that gave an instance its state, nil without any: the
// first that is Down, else the last in that state.
func deciding(entries []health) *health {
	state := stateOf(entries)
	var found *health
	for i := range entries {
		if entries[i].State != state {
			continue
		}
		found = &entries[i]
		if state == down {
			break
		}
	}
	return found
}

func (c *instanceCounts) count(state string) {
	c.Total++
	switch state {
	case up:
		c.Up++
	case down:
		c.Down++
	case unknown:
		c.Unknown++
	}
}

// Instance renders the long form of any object (read-lists.md 2.9); only pods
// have a health.
func Instance(account string, o *index.Object) []byte { return encode(longInstance(account, o)) }

func longInstance(account string, o *index.Object) instance {
	entries := healthOf(o)
	return instance{
		ID: o.UID(), Name: o.UID(), HumanReadableName: o.FullName(), DisplayName: o.Name,
		Kind: o.Kind.Text, APIVersion: o.Kind.APIVersion, Account: account,
		Namespace: o.Namespace, Zone: o.Namespace, CloudProvider: provider, ProviderType: provider,
		CreatedTime: o.Created, HealthState: stateOf(entries), Moniker: o.Moniker(), Labels: labels(o), Health: entries,
	}
}

func briefInstance(o *index.Object) shortInstance {
	entries := healthOf(o)
	short := make([]shortHealth, len(entries))
	for i, e := range entries {
		short[i] = shortHealth{Type: e.Type, State: e.State}
	}
	return shortInstance{ID: o.UID(), Name: o.FullName(), HealthState: stateOf(entries), AvailabilityZone: o.Namespace, Health: short}
}

// labels is an object's labels in the long forms: {} for none.
func labels(o *index.Object) json.RawMessage {
	if text := o.LabelsJSON(); text != "" {
		return json.RawMessage(text)
	}
	return json.RawMessage("{}")
}
