package spinnaker

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// Annotations and labels that the reads look at (read-lists.md 1.1).
const (
	AnnotationApplication   = "moniker.spinnaker.io/application"
	AnnotationCluster       = "moniker.spinnaker.io/cluster"
	AnnotationStack         = "moniker.spinnaker.io/stack"
	AnnotationDetail        = "moniker.spinnaker.io/detail"
	AnnotationSequence      = "moniker.spinnaker.io/sequence"
	AnnotationLoadBalancers = "traffic.spinnaker.io/load-balancers"
	AnnotationIgnore        = "caching.spinnaker.io/ignore"
	AnnotationRevision      = "deployment.kubernetes.io/revision"
	LabelManagedBy          = "app.kubernetes.io/managed-by"
)

// ManagedSelector is the label selector for what Spinnaker manages
// (homedepot/go-clouddriver, internal/kubernetes).
const ManagedSelector = LabelManagedBy + " in (spinnaker,spinnaker-operator)"

// ManagedSelectorFor also selects what is deployed with a suffix of
// managed-by.
func ManagedSelectorFor(suffix string) string {
	if suffix == "" {
		return ManagedSelector
	}
	return LabelManagedBy + " in (spinnaker,spinnaker-operator,spinnaker-" + suffix + ")"
}

// Moniker places an object in Spinnaker's naming. It is comparable, so that
// equal monikers can be shared; an empty string is an absent part.
type Moniker struct {
	App, Cluster, Stack, Detail string
	// Sequence counts only when HasSequence: the number 0 is legal.
	Sequence    int
	HasSequence bool
}

// MarshalJSON leaves absent parts out.
func (m Moniker) MarshalJSON() ([]byte, error) {
	out := struct {
		App      string `json:"app,omitempty"`
		Cluster  string `json:"cluster,omitempty"`
		Detail   string `json:"detail,omitempty"`
		Stack    string `json:"stack,omitempty"`
		Sequence *int   `json:"sequence,omitempty"`
	}{m.App, m.Cluster, m.Detail, m.Stack, nil}
	if m.HasSequence {
		out.Sequence = &m.Sequence
	}
	return json.Marshal(out)
}

var (
	// Three to six digits since frigga 0.23 (Netflix/frigga, NameConstants).
	pushPart    = regexp.MustCompile(`^([-A-Za-z0-9._]*)-(v([0-9]{3,6}))$`)
	clusterPart = regexp.MustCompile(`^([A-Za-z0-9._]+)(-([A-Za-z0-9._]*)(-([-A-Za-z0-9._]*))?)?$`)
)

// ReadsAnnotation says whether an annotation means anything here.
func ReadsAnnotation(key []byte) bool {
	switch string(key) {
	case AnnotationApplication, AnnotationCluster, AnnotationStack, AnnotationDetail, AnnotationSequence,
		AnnotationRevision, AnnotationLoadBalancers, AnnotationIgnore:
		return true
	}
	return false
}

// MonikerOf derives an object's moniker from its annotations. Parts that they
// lack come from the name by frigga's rules when derive is set, and are
// absent otherwise.
func MonikerOf(kindText, name string, annotations map[string]string, derive bool) Moniker {
	var m Moniker
	if derive {
		m = parseName(name)
	}
	override := func(part *string, key string) {
		if v := unquote(annotations[key]); v != "" {
			*part = v
		}
	}
	override(&m.App, AnnotationApplication)
	override(&m.Cluster, AnnotationCluster)
	override(&m.Stack, AnnotationStack)
	override(&m.Detail, AnnotationDetail)
	sequence, ok := annotations[AnnotationSequence]
	if !ok && kindText == "replicaSet" {
		sequence, ok = annotations[AnnotationRevision]
	}
	if ok {
		// A value that is no number hides the one from the name, too.
		n, err := strconv.Atoi(unquote(sequence))
		m.Sequence, m.HasSequence = n, err == nil
		if err != nil {
			m.Sequence = 0
		}
	}
	return m
}

// parseName is frigga's parser with Clouddriver's rule for system: names
// (read-lists.md 1.2).
func parseName(name string) Moniker {
	prefix, rest := "", name
	if after, ok := strings.CutPrefix(name, "system:"); ok {
		prefix, rest = "system:", after
	}
	var m Moniker
	cluster := rest
	if p := pushPart.FindStringSubmatch(rest); p != nil {
		cluster = p[1]
		m.Sequence, _ = strconv.Atoi(p[3]) // the pattern allows only digits
		m.HasSequence = true
	}
	c := clusterPart.FindStringSubmatch(cluster)
	if c == nil {
		return Moniker{}
	}
	m.App, m.Cluster = c[1], prefix+cluster
	if prefix != "" {
		m.App = "system"
	}
	return m
}

var versionSuffix = regexp.MustCompile(`-v[0-9]{3,}$`)

// Unversioned is an object's name without the version that Spinnaker appends.
func Unversioned(name string) string { return versionSuffix.ReplaceAllString(name, "") }

// unquote drops the double quotes that very old releases and the Spinnaker
// operator write around annotation values.
func unquote(v string) string {
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		return v[1 : len(v)-1]
	}
	return v
}

// Ignored says whether the annotations hide the object from every list.
func Ignored(annotations map[string]string) bool {
	return strings.EqualFold(unquote(annotations[AnnotationIgnore]), "true")
}

// ExplicitLoadBalancers reads the load balancers that a server group names
// itself, as full names. Entries that are not "kind name" are skipped, and an
// annotation that is not a JSON array counts as none.
func ExplicitLoadBalancers(annotations map[string]string) []string {
	raw, ok := annotations[AnnotationLoadBalancers]
	if !ok {
		return nil
	}
	var entries []json.RawMessage
	if json.Unmarshal([]byte(raw), &entries) != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		var text string
		if json.Unmarshal(entry, &text) != nil {
			continue
		}
		if kind, name, ok := SplitFullName(text); ok {
			names = append(names, FullName(kind, name))
		}
	}
	return names
}
