package view

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// CustomKinds are status rules for kinds of custom resource definitions, by
// kind: Rollout, or Rollout.argoproj.io (homedepot/go-clouddriver,
// internal/kubernetes/custom_kind.go; read-rest.md 1.9).
type CustomKinds map[string]CustomKind

// CustomKind is the rules of one kind.
type CustomKind struct {
	StatusChecks []StatusCheck `json:"statusChecks"`
}

// StatusCheck compares one field of the status.
type StatusCheck struct {
	// FieldPath is below status, with dots.
	FieldPath     string `json:"fieldPath"`
	ComparedValue any    `json:"comparedValue"`
	// Operator is EQ or NE; every other passes.
	Operator string `json:"operator"`
	// OnMismatch is wait for an object that is not stable yet; without it, one
	// that does not pass has failed.
	OnMismatch string `json:"onMismatch"`
}

// ParseCustomKinds reads the file of CUSTOM_KINDS_CONFIG_PATH.
func ParseCustomKinds(text []byte) (CustomKinds, error) {
	var out CustomKinds
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, err
	}
	for kind, c := range out {
		for i, check := range c.StatusChecks {
			if check.FieldPath == "" {
				return nil, fmt.Errorf("%s.statusChecks[%d].fieldPath: must be given", kind, i)
			}
			if check.OnMismatch != "" && check.OnMismatch != "wait" && check.OnMismatch != "fail" {
				return nil, fmt.Errorf("%s.statusChecks[%d].onMismatch: %q is neither wait nor fail", kind, i, check.OnMismatch)
			}
		}
	}
	return out, nil
}

// ruled are the native kinds whose status has rules of its own, which the older
// rewrite asks first.
var ruled = map[string]bool{"daemonSet": true, "deployment": true, "horizontalpodautoscaler": true, "job": true, "pod": true, "replicaSet": true, "statefulSet": true}

// StatusOf evaluates the rules of an object's kind; ok is false when it has
// none.
func (c CustomKinds) StatusOf(kindText string, object map[string]any) (out ManifestStatus, ok bool) {
	rules, ok := c.find(kindText)
	if !ok || ruled[kindText] {
		return out, false
	}
	out.Stable.State, out.Available.State = true, true
	status, _ := object["status"].(map[string]any)
	for _, check := range rules.StatusChecks {
		value, there := fieldAt(status, check.FieldPath)
		if !there || check.passes(value) {
			continue
		}
		text := fmt.Sprintf("Field status.%s was %v", check.FieldPath, value)
		out.Stable = State{}
		if check.OnMismatch == "wait" {
			out.Stable.Message = &text
		} else {
			out.Failed = State{true, &text}
		}
		return out, true
	}
	return out, true
}

func (c CustomKinds) find(kindText string) (CustomKind, bool) {
	bare, _, _ := strings.Cut(kindText, ".")
	for _, wanted := range []string{kindText, bare} {
		for kind, rules := range c {
			if strings.EqualFold(kind, wanted) {
				return rules, true
			}
		}
	}
	return CustomKind{}, false
}

func fieldAt(m map[string]any, path string) (any, bool) {
	var v any = m
	for part := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[part]; !ok {
			return nil, false
		}
	}
	return v, true
}

func (s StatusCheck) passes(value any) bool {
	equal := reflect.DeepEqual(value, s.ComparedValue)
	if n, ok := value.(int64); ok { // objects hold whole numbers, the file floating ones
		f, isNumber := s.ComparedValue.(float64)
		equal = isNumber && float64(n) == f
	}
	switch strings.ToUpper(s.Operator) {
	case "EQ":
		return equal
	case "NE":
		return !equal
	}
	return true
}
