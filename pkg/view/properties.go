package view

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	propertyMarker = "SPINNAKER_PROPERTY_"
	configMarker   = "SPINNAKER_CONFIG_JSON="
	// longestLine bounds a line of a log: no more of a log is read in all.
	longestLine = 51 << 20
)

// Properties reads what a log says to pipelines (read-rest.md 2.4;
// spinnaker/clouddriver, PropertyParser). Broken JSON loses everything, as
// there.
func Properties(log io.Reader) (map[string]any, error) {
	out := map[string]any{}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.Contains(line, propertyMarker) {
			key, value, _ := strings.Cut(line, "=")
			key = strings.ToLower(strings.Replace(strings.TrimSpace(key), propertyMarker, "", 1))
			if value = strings.TrimSpace(value); key != "" && value != "" {
				out[key] = value
			}
		}
		if rest, ok := strings.CutPrefix(line, configMarker); ok {
			var members map[string]any
			decoder := json.NewDecoder(strings.NewReader(rest))
			decoder.UseNumber() // ids have more digits than a floating-point number
			err := decoder.Decode(&members)
			if err == nil && decoder.More() {
				err = errors.New("has something behind the object")
			}
			if err != nil {
				return nil, fmt.Errorf("%s %w", configMarker, err)
			}
			if members == nil {
				return nil, errors.New(configMarker + " is no object")
			}
			for k, v := range members {
				out[k] = v
			}
		}
	}
	return out, lines.Err()
}
