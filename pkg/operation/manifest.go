package operation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// manifestLimit is the largest body of a request that an API server takes
// (kubernetes/apiserver, pkg/server/config.go, MaxRequestBodyBytes).
const manifestLimit = 3 << 20

// storedManifest is the type of an object in the place of a manifest that Orca
// keeps in its entity store (artifacts.md 6.1).
const storedManifest = "remote/map/base64"

// flatten skips nulls, opens lists and refuses what is no object. size is that
// of the whole description.
func flatten(in []manifest, size int) ([]manifest, error) {
	var out []manifest
	for i, m := range in {
		if m == nil {
			continue
		}
		path := fmt.Sprintf("manifests[%d]", i)
		if err := stored(m); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		items, isList := itemsOf(m)
		if !isList {
			if err := complete(m, size); err != nil {
				return nil, fmt.Errorf("%s.%w", path, err)
			}
			out = append(out, m)
			continue
		}
		for j, item := range items {
			if item == nil {
				continue
			}
			object, ok := item.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("%s.items[%d]: must be an object", path, j)
			}
			typed(object, m)
			if err := complete(object, size); err != nil {
				return nil, fmt.Errorf("%s.items[%d].%w", path, j, err)
			}
			out = append(out, object)
		}
	}
	return out, nil
}

// itemsOf are those of a List, or of a list of one kind such as a
// ConfigMapList.
func itemsOf(m manifest) (items []any, isList bool) {
	kind := textOf(m, "kind")
	items, hasItems := m["items"].([]any)
	if strings.EqualFold(kind, "List") {
		return items, true
	}
	return items, hasItems && strings.HasSuffix(kind, "List") && kind != "List"
}

// typed gives an item of a list of one kind the kind that it may leave out.
func typed(item map[string]any, list manifest) {
	kind := strings.TrimSuffix(textOf(list, "kind"), "List")
	if kind == "" || strings.EqualFold(textOf(list, "kind"), "List") {
		return
	}
	if textOf(item, "kind") == "" {
		item["kind"] = kind
	}
	if textOf(item, "apiVersion") == "" {
		item["apiVersion"] = list["apiVersion"]
	}
}

// expandLimit bounds what the references of one request stand for together, as a
// request is bounded that has its manifests with it.
const expandLimit = 64 << 20

// Expand puts stored manifests into the place of their references, in the members
// of a description that are read: what comes along of earlier stages is not looked
// up. The error names the member.
func Expand(r Request, look func(reference string) ([]byte, error)) (Request, error) {
	if !bytes.Contains(r.Body, []byte(storedManifest)) {
		return r, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(r.Body, &members); err != nil {
		return r, nil //nolint:nilerr // Decode says what is wrong
	}
	looked, total := map[string][]byte{}, 0
	expand := func(path string, one json.RawMessage) (json.RawMessage, error) {
		var of struct {
			Type      string
			Reference *string
		}
		if json.Unmarshal(one, &of) != nil || of.Type != storedManifest || of.Reference == nil {
			return one, nil //nolint:nilerr // it is no reference
		}
		content, again := looked[*of.Reference]
		if !again {
			var err error
			if content, err = look(*of.Reference); err != nil {
				return nil, &ExpandError{path, err}
			}
			looked[*of.Reference] = content
		}
		if total += len(content); len(content) > manifestLimit || total > expandLimit {
			return nil, invalid("%s: what is kept under %s has %d bytes: a manifest may have %d, and all of a request %d", path, shortened(*of.Reference, lineLimit), len(content), manifestLimit, expandLimit)
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(content, &object); err != nil || object == nil {
			return nil, invalid("%s: what is kept under %s is no manifest", path, shortened(*of.Reference, lineLimit))
		}
		return content, nil
	}
	var err error
	if one, there := members["manifest"]; there {
		if members["manifest"], err = expand(r.Name+".manifest", one); err != nil {
			return r, err
		}
	}
	var list []json.RawMessage
	if json.Unmarshal(members["manifests"], &list) == nil && list != nil {
		for i, one := range list {
			if list[i], err = expand(fmt.Sprintf("%s.manifests[%d]", r.Name, i), one); err != nil {
				return r, err
			}
		}
		if members["manifests"], err = json.Marshal(list); err != nil {
			return r, err
		}
	}
	r.Body, err = json.Marshal(members)
	return r, err
}

// ExpandError is a stored manifest that could not be had, with the member that its
// reference stands in.
type ExpandError struct {
	Path string
	Err  error
}

func (e *ExpandError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap is the cause.
func (e *ExpandError) Unwrap() error { return e.Err }

// stored refuses a reference in the place of a manifest, where there is no store to
// look it up in.
func stored(m map[string]any) error {
	reference, ok := m["reference"].(string)
	if !ok || m["type"] != storedManifest {
		return nil
	}
	return fmt.Errorf("it is kept in an artifact store, by the reference %q, and there is none here: set artifact-store.s3.enabled and artifact-store.entities.expand, or turn artifact-store.entities.enabled off in Orca", shortened(reference, lineLimit))
}

// complete refuses a manifest that cannot be an object, and gives its names and
// labels the form that Kubernetes demands.
func complete(m map[string]any, size int) error {
	for _, key := range []string{"apiVersion", "kind"} {
		if textOf(m, key) == "" {
			return fmt.Errorf("%s: must be given", key)
		}
	}
	metadata, ok := m["metadata"].(map[string]any)
	if !ok {
		return errors.New("metadata: must be an object")
	}
	for _, key := range []string{"name", "generateName", "namespace"} {
		if err := texted(metadata, key); err != nil {
			return fmt.Errorf("metadata.%w", err)
		}
	}
	for _, place := range places(m) {
		for _, key := range []string{"annotations", "labels"} {
			if err := textMap(place.metadata, key); err != nil {
				return fmt.Errorf("%s.%w", place.path, err)
			}
		}
	}
	if metadataText(m, "name") == "" && metadataText(m, "generateName") == "" {
		return errors.New("metadata.name: must be given, or generateName")
	}
	if size > manifestLimit {
		raw, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if len(raw) > manifestLimit {
			return fmt.Errorf("metadata.name: %s has %d bytes, more than the %d that a Kubernetes API server takes", metadataText(m, "name"), len(raw), manifestLimit)
		}
	}
	return nil
}

// place is where a manifest has metadata: its own, and those of the templates
// that its children are made of.
type place struct {
	path     string
	metadata map[string]any
}

func places(m map[string]any) []place {
	out := []place{{"metadata", mapAt(m, "metadata")}}
	for _, path := range [][]string{{"spec", "template"}, {"spec", "jobTemplate"}, {"spec", "jobTemplate", "spec", "template"}} {
		if metadata := mapAt(m, append(slices.Clone(path), "metadata")...); metadata != nil {
			out = append(out, place{strings.Join(path, ".") + ".metadata", metadata})
		}
	}
	return out
}

// texted makes a text of a scalar: YAML loses the quotes of "true" and "5".
func texted(in map[string]any, key string) error {
	v, there := in[key]
	if !there || v == nil {
		return nil
	}
	text, ok := scalarText(v)
	if !ok {
		return fmt.Errorf("%s: must be a text", key)
	}
	in[key] = text
	return nil
}

// textMap makes texts of all values of a map, and drops those that are null.
func textMap(in map[string]any, key string) error {
	if in[key] == nil {
		delete(in, key)
		return nil
	}
	texts, ok := in[key].(map[string]any)
	if !ok {
		return fmt.Errorf("%s: must be an object of texts", key)
	}
	for name, v := range texts {
		if v == nil {
			delete(texts, name)
			continue
		}
		text, ok := scalarText(v)
		if !ok {
			return fmt.Errorf("%s[%s]: must be a text", key, name)
		}
		texts[name] = text
	}
	return nil
}

// scalarText is a scalar as text; a whole number keeps its digits.
func scalarText(v any) (text string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}

// serverSet are members of metadata that only the server writes. A manifest
// that was read from a cluster has them, and they are true nowhere else.
var serverSet = []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"}

// fresh drops what the server has written. A creationTimestamp of null is what
// tools write that generate manifests, and kubectl records it.
func fresh(m map[string]any) {
	metadata := mapAt(m, "metadata")
	live := metadata["uid"] != nil
	for _, key := range serverSet {
		if metadata[key] != nil {
			delete(metadata, key)
		}
	}
	if !live {
		return
	}
	delete(m, "status")
	delete(metadata, "ownerReferences") // elsewhere the owner is not there, and what it owned is collected
	if textOf(m, "kind") == "Job" && mapAt(m, "spec")["manualSelector"] != true {
		freshJob(m)
	}
}

// freshJob drops the selector and the labels that the server gives every job
// for itself (kubernetes/kubernetes, pkg/registry/batch/job/strategy.go).
func freshJob(m map[string]any) {
	delete(mapAt(m, "spec"), "selector")
	for _, place := range places(m) {
		labels := mapAt(place.metadata, "labels")
		for _, key := range []string{"controller-uid", "batch.kubernetes.io/controller-uid", "job-name", "batch.kubernetes.io/job-name"} {
			delete(labels, key)
		}
	}
}

// edited is the name without its version of an object of ours that was taken
// from the cluster to be deployed again, "" for any other manifest.
func edited(m map[string]any, kindText string) string {
	name, version := annotation(m, spinnaker.AnnotationArtifactName), annotation(m, spinnaker.AnnotationArtifactVersion)
	if name == "" || annotation(m, spinnaker.AnnotationArtifactType) != spinnaker.KubernetesArtifactPrefix+kindText {
		return ""
	}
	if _, ok := spinnaker.ParseVersion(version); !ok || metadataText(m, "name") != name+"-"+version {
		return ""
	}
	return name
}

func metadataText(m map[string]any, key string) string {
	v, _ := mapAt(m, "metadata")[key].(string)
	return v
}

func textOf(m map[string]any, key string) string {
	v, _ := m[key].(string)
	return v
}

// lineLimit is how much of what others sent a text quotes.
const lineLimit = 240

// shortened keeps both ends of a text in one line.
func shortened(text string, most int) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) <= most {
		return string(runes)
	}
	half := most / 2
	return string(runes[:half]) + " … " + string(runes[len(runes)-half:])
}
