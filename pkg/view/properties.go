package view

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	propertyMarker = "SPINNAKER_PROPERTY_"
	configMarker   = "SPINNAKER_CONFIG_JSON="
	// longestLine is what is looked at of a line, and mostKept what the properties
	// of a log may be together.
	longestLine = 4 << 20
	mostKept    = 4 << 20
)

// PropertiesBytes is what Properties takes at most.
const PropertiesBytes = 4 * (longestLine + mostKept)

// nextLine is the next line; of one that is longer than longestLine and has
// properties in it, an error, and of another, the begin. io.EOF comes after the
// last one.
func nextLine(lines *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := lines.ReadSlice('\n')
		room := longestLine - len(line)
		line = append(line, part[:min(len(part), room)]...)
		switch {
		case len(part) > room && (bytes.Contains(line, []byte(propertyMarker)) || bytes.HasPrefix(bytes.TrimSpace(line), []byte(configMarker))):
			return "", fmt.Errorf("a line with properties is longer than %d bytes", longestLine)
		case err == nil:
			return string(line), nil
		case errors.Is(err, io.EOF) && len(line) > 0:
			return string(line), nil
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		default:
			return "", err
		}
	}
}

// Properties reads what a log says to pipelines (read-rest.md 2.4;
// spinnaker/clouddriver, PropertyParser). Broken JSON loses everything, as
// there.
func Properties(log io.Reader) (map[string]any, error) {
	out := map[string]any{}
	lines := bufio.NewReaderSize(log, 64<<10)
	kept := 0
	for {
		text, err := nextLine(lines)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		line := strings.TrimSpace(text)
		if strings.Contains(line, propertyMarker) || strings.HasPrefix(line, configMarker) {
			if kept += len(line); kept > mostKept {
				return nil, fmt.Errorf("its properties are larger than %d bytes", mostKept)
			}
		}
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
}
