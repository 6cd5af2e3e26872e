package artifact

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// chartEntry is a version of a chart in an index.
type chartEntry struct {
	Version string   `json:"version" yaml:"version"`
	URLs    []string `json:"urls" yaml:"urls"`
}

const (
	// mostIndex and mostOfChart bound an index, and what it says of one chart:
	// that is all that is held of it.
	mostIndex   = 256 << 20
	mostOfChart = 32 << 20
	mostLine    = 4 << 20
)

// eachChart is called with each chart of an index, in order, until it returns
// false.
type eachChart func(chart string, versions func() ([]chartEntry, error)) (goOn bool, err error)

// readIndex reads a Helm repository's index chart by chart, without holding it:
// those of large repositories have a hundred megabytes. Indexes are written by
// programs, in blocks or as JSON; other forms of YAML are refused.
func readIndex(from io.Reader, each eachChart) error {
	r := bufio.NewReader(&limited{io.NopCloser(from), mostIndex, mostIndex, ""})
	for {
		begin, err := r.Peek(1)
		if err != nil {
			return errors.New("the index is empty")
		}
		if strings.ContainsAny(string(begin), " \r\n\t") {
			_, _ = r.Discard(1)
			continue
		}
		if begin[0] == '{' {
			return readJSONIndex(json.NewDecoder(r), each)
		}
		break
	}
	s := &indexScanner{each: each}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), mostLine)
	for lines.Scan() {
		goOn, err := s.line(lines.Bytes())
		if err != nil || !goOn {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if !s.found {
		return errors.New("it is no index of a Helm repository: it has no entries")
	}
	_, err := s.flush()
	return err
}

// indexScanner parts an index in blocks into those of its charts, by their
// indentation.
type indexScanner struct {
	each   eachChart
	found  bool // the line entries: has come
	within bool // and nothing after its block yet
	indent int  // of the charts' names, 0 before the first one
	chart  string
	block  bytes.Buffer
}

func (s *indexScanner) line(line []byte) (goOn bool, err error) {
	text := strings.TrimRight(string(line), " \r\t")
	bare := strings.TrimLeft(text, " ")
	switch {
	case bare == "" || bare[0] == '#':
		return true, nil
	case len(bare) == len(text): // a key of the index itself
		if s.within && bare[0] != '-' {
			s.within = false
			return s.flush()
		}
		return s.top(bare)
	case !s.within:
		return true, nil
	}
	indent := len(text) - len(bare)
	if s.indent == 0 {
		s.indent = indent
	}
	if indent == s.indent && bare[0] != '-' {
		return s.begin(bare)
	}
	if s.block.Len()+len(line) > mostOfChart {
		return false, fmt.Errorf("chart %s takes more than %d bytes of the index", s.chart, mostOfChart)
	}
	s.block.Write(line)
	s.block.WriteByte('\n')
	return true, nil
}

// top reads a key of the index itself.
func (s *indexScanner) top(bare string) (bool, error) {
	rest, is := strings.CutPrefix(bare, "entries:")
	if !is {
		return true, nil
	}
	s.found = true
	switch rest = strings.TrimSpace(rest); rest {
	case "":
		s.within = true
	case "{}", "null", "~":
	default:
		return false, errors.New("its entries are neither a block nor JSON")
	}
	return true, nil
}

// begin hands the chart before on and begins one.
func (s *indexScanner) begin(bare string) (bool, error) {
	goOn, err := s.flush()
	if err != nil || !goOn {
		return goOn, err
	}
	var key map[string]any
	if !strings.HasSuffix(bare, ":") || yaml.Unmarshal([]byte(bare), &key) != nil || len(key) != 1 {
		const most = 60
		return false, fmt.Errorf("%q is no chart with a list of versions", bare[:min(len(bare), most)])
	}
	for name := range key {
		s.chart = name
	}
	return true, nil
}

func (s *indexScanner) flush() (bool, error) {
	if s.chart == "" {
		return true, nil
	}
	chart, block := s.chart, s.block.Bytes()
	s.chart = ""
	defer s.block.Reset()
	return s.each(chart, func() ([]chartEntry, error) {
		var entries []chartEntry
		if err := yaml.Unmarshal(block, &entries); err != nil {
			return nil, fmt.Errorf("chart %s: %w", chart, err)
		}
		return entries, nil
	})
}

// readJSONIndex reads an index that is JSON, which is YAML, too.
func readJSONIndex(d *json.Decoder, each eachChart) error {
	found := false
	err := eachMember(d, func(key string) error {
		if key != "entries" {
			return skip(d)
		}
		found = true
		return eachMember(d, func(chart string) error {
			var entries []chartEntry
			if err := d.Decode(&entries); err != nil {
				return err
			}
			goOn, err := each(chart, func() ([]chartEntry, error) { return entries, nil })
			if err == nil && !goOn {
				return errEnough
			}
			return err
		})
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	if err == nil && !found {
		return errors.New("it is no index of a Helm repository: it has no entries")
	}
	return err
}

var errEnough = errors.New("enough")

// eachMember reads an object member by member; do reads the value.
func eachMember(d *json.Decoder, do func(key string) error) error {
	open, err := d.Token()
	if err != nil {
		return err
	}
	if open != json.Delim('{') {
		return errors.New("it is no object")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if err := do(name); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// skip reads a value without holding it.
func skip(d *json.Decoder) error {
	for depth := 0; ; {
		token, err := d.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
