package operation

import (
	"errors"
	"fmt"
	"strings"
)

// flatten skips nulls, opens lists and refuses what is no object.
func flatten(in []manifest) ([]manifest, error) {
	var out []manifest
	for i, m := range in {
		if m == nil {
			continue
		}
		kind, _ := m["kind"].(string)
		if strings.EqualFold(kind, "List") {
			items, _ := m["items"].([]any)
			for j, item := range items {
				object, ok := item.(map[string]any)
				if !ok {
					if item == nil {
						continue
					}
					return nil, fmt.Errorf("manifests[%d].items[%d]: must be an object", i, j)
				}
				if err := complete(object); err != nil {
					return nil, fmt.Errorf("manifests[%d].items[%d].%w", i, j, err)
				}
				out = append(out, object)
			}
			continue
		}
		if err := complete(m); err != nil {
			return nil, fmt.Errorf("manifests[%d].%w", i, err)
		}
		out = append(out, m)
	}
	return out, nil
}

func complete(m map[string]any) error {
	for _, key := range []string{"apiVersion", "kind"} {
		if v, _ := m[key].(string); v == "" {
			return fmt.Errorf("%s: must be given", key)
		}
	}
	metadata, ok := m["metadata"].(map[string]any)
	if !ok {
		return errors.New("metadata: must be an object")
	}
	for _, key := range []string{"name", "generateName", "namespace"} {
		if v, there := metadata[key]; there && v != nil {
			if _, ok := v.(string); !ok {
				return fmt.Errorf("metadata.%s: must be a text", key)
			}
		}
	}
	for _, at := range []struct {
		path     string
		metadata map[string]any
	}{{"metadata", metadata}, {"spec.template.metadata", mapAt(m, "spec", "template", "metadata")}} {
		for _, key := range []string{"annotations", "labels"} {
			texts, _ := at.metadata[key].(map[string]any)
			for name, v := range texts {
				switch v.(type) {
				case map[string]any, []any:
					return fmt.Errorf("%s.%s[%s]: must be a text", at.path, key, name)
				}
			}
		}
	}
	if metadataText(m, "name") == "" && metadataText(m, "generateName") == "" {
		return errors.New("metadata.name: must be given, or generateName")
	}
	return nil
}

func metadataText(m map[string]any, key string) string {
	v, _ := mapAt(m, "metadata")[key].(string)
	return v
}

func textOf(m map[string]any, key string) string {
	v, _ := m[key].(string)
	return v
}
