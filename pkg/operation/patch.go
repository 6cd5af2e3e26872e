package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// patch is patchManifest (operations.md 5.8).
type patch struct {
	target
	PatchBody         json.RawMessage       `json:"patchBody"`
	RequiredArtifacts []*spinnaker.Artifact `json:"requiredArtifacts"`
	AllArtifacts      []*spinnaker.Artifact `json:"allArtifacts"`
	Options           struct {
		MergeStrategy string `json:"mergeStrategy"`
		Record        bool   `json:"record"`
	} `json:"options"`
}

const changeCause = "kubernetes.io/change-cause"

func (o *patch) check() error {
	if len(o.PatchBody) == 0 || string(o.PatchBody) == "null" {
		return finding("patchBody.empty")
	}
	switch o.Options.MergeStrategy {
	case "":
		return finding("options.mergeStrategy.empty")
	case "strategic", "merge":
		if o.PatchBody[0] != '{' {
			return fmt.Errorf("patchBody: must be an object for mergeStrategy %s", o.Options.MergeStrategy)
		}
	case "json":
		var list []map[string]any
		if json.Unmarshal(o.PatchBody, &list) != nil {
			return errors.New("patchBody: must be a list of operations for mergeStrategy json")
		}
	default:
		return fmt.Errorf("options.mergeStrategy: %q is none of strategic, merge, json", o.Options.MergeStrategy)
	}
	return o.target.check()
}

// Plan implements Operation.
func (o *patch) Plan(ctx context.Context, p *Planner) (*Plan, error) {
	r, live, err := p.target(ctx, o.target)
	if err != nil {
		return nil, err
	}
	s := p.step(Patch, r, live, o.App)
	s.UID = "" // the body is the caller's, and holds for whatever has the name
	location := p.Account.NamespaceFor(o.Location)
	result := &ResultPlan{Location: &location, Manifests: true}
	cause := o.cause(p)
	if o.Options.MergeStrategy == "json" {
		s.PatchType = types.JSONPatchType
		if s.Patch, err = textsInOperations(o.PatchBody); err != nil {
			return nil, err
		}
		s.Unsafe = repeatable(o.PatchBody) != nil
		if o.Options.Record {
			if s.Patch, err = withCause(s.Patch, cause, len(live.GetAnnotations()) > 0); err != nil {
				return nil, err
			}
		}
		return &Plan{Steps: []Step{s}, Result: result}, nil
	}
	s.PatchType = types.StrategicMergePatchType
	if o.Options.MergeStrategy == "merge" {
		s.PatchType = types.MergePatchType
	}
	var body map[string]any
	if err := utiljson.Unmarshal(o.PatchBody, &body); err != nil {
		return nil, err
	}
	textsInPatch(body)
	b := newBinder(p.Account.Name, p.Settings.MatchNameOnly, deref(o.AllArtifacts))
	b.bind(r.KindText(), location, body)
	if unbound := b.unbound(deref(o.RequiredArtifacts)); len(unbound) > 0 {
		var names []string
		for _, a := range unbound {
			names = append(names, a.Type+" "+a.Name)
		}
		return nil, fmt.Errorf("these required artifacts are not used by the patch: %s", strings.Join(names, ", "))
	}
	result.Bound = b.bound
	if o.Options.Record {
		metadata, _ := body["metadata"].(map[string]any)
		if metadata == nil {
			metadata = map[string]any{}
			body["metadata"] = metadata
		}
		write(metadata, "annotations", map[string]string{changeCause: cause}, map[string]bool{changeCause: true})
	}
	if s.Patch, err = json.Marshal(body); err != nil {
		return nil, err
	}
	return &Plan{Steps: []Step{s}, Result: result}, nil
}

// textsInPatch makes texts of the labels and annotations of a patch, which YAML
// has taken the quotes from. null stays: it removes.
func textsInPatch(body map[string]any) {
	for _, place := range places(body) {
		for _, key := range []string{"annotations", "labels"} {
			texts := mapAt(place.metadata, key)
			for name, v := range texts {
				if text, ok := scalarText(v); ok {
					texts[name] = text
				}
			}
		}
	}
}

var pathOfTexts = regexp.MustCompile(`^(/spec/template|/spec/jobTemplate|/spec/jobTemplate/spec/template)?/metadata/(labels|annotations)(/[^/]+)?$`)

// textsInOperations does the same for a JSON patch. One that has nothing of it
// is sent as it was written.
func textsInOperations(body json.RawMessage) (json.RawMessage, error) {
	var list []map[string]any
	if err := utiljson.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	changed := false
	for _, one := range list {
		path, _ := one["path"].(string)
		place := pathOfTexts.FindStringSubmatch(path)
		if place == nil {
			continue
		}
		texts, isMap := one["value"].(map[string]any)
		if place[3] != "" {
			texts, isMap = one, true
		}
		if !isMap {
			continue
		}
		for name, v := range texts {
			if _, isText := v.(string); isText || place[3] != "" && name != "value" {
				continue
			}
			if text, ok := scalarText(v); ok {
				texts[name], changed = text, true
			}
		}
	}
	if !changed {
		return body, nil
	}
	return json.Marshal(list)
}

// cause says who patched; never with what.
func (o *patch) cause(p *Planner) string {
	cause := "patchManifest " + o.ManifestName + " by " + p.User
	if p.Execution != "" {
		cause += " in execution " + p.Execution
	}
	return cause
}

func withCause(body json.RawMessage, cause string, hasAnnotations bool) (json.RawMessage, error) {
	var list []any
	if err := utiljson.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	own := slices.ContainsFunc(list, func(o any) bool {
		one, _ := o.(map[string]any)
		return one["path"] == "/metadata/annotations"
	})
	if !hasAnnotations && !own {
		list = slices.Insert(list, 0, any(map[string]any{"op": "add", "path": "/metadata/annotations", "value": map[string]any{}}))
	}
	list = append(list, map[string]any{"op": "add", "path": "/metadata/annotations/kubernetes.io~1change-cause", "value": cause})
	return json.Marshal(list)
}

// repeatable says why a JSON patch must not be sent twice, nil if it may be
// (operations.md 6.2).
func repeatable(body json.RawMessage) error {
	var list []struct{ Op, Path string }
	if err := json.Unmarshal(body, &list); err != nil {
		return err
	}
	for _, o := range list {
		last := o.Path[strings.LastIndexByte(o.Path, '/')+1:]
		index := last == "-" || strings.Trim(last, "0123456789") == ""
		switch {
		case o.Op == "replace", o.Op == "add" && !index:
		default:
			return fmt.Errorf("operation %s at %s", o.Op, o.Path)
		}
	}
	return nil
}
