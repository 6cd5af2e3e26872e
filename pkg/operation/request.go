package operation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/jackson"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Operation is one instruction of a request.
type Operation interface {
	// Name is the one on the wire: deployManifest.
	Name() string
	// AccountName is whom it acts for.
	AccountName() string
	// Validate returns every reason to refuse it, without a cluster.
	Validate(v *Validation) []string
	// Plan reads the cluster and decides; it changes nothing.
	Plan(ctx context.Context, p *Planner) (*Plan, error)
}

// Request is one operation as it was sent.
type Request struct {
	Name string          `json:"name"`
	Body json.RawMessage `json:"body"`
}

// InvalidError is a request that cannot be understood; it names the field.
type InvalidError string

func (e InvalidError) Error() string { return string(e) }

// FindingError is a finding of a validator, spelled as Java Clouddriver does
// (operations.md 1.3).
type FindingError string

func (e FindingError) Error() string { return string(e) }

// finding is one without its context.
type finding string

func (f finding) Error() string { return string(f) }

func invalid(format string, args ...any) error { return InvalidError(fmt.Sprintf(format, args...)) }

// Split takes apart a body of operations: an array of objects, each of whose
// keys is an operation, in the order of the document (operations.md 1.1).
func Split(body []byte) ([]Request, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, invalid("the body must be an array of operations such as [{\"deployManifest\": {…}}]")
	}
	out := []Request{}
	for i := 0; d.More(); i++ {
		if t, err := d.Token(); err != nil || t != json.Delim('{') {
			return nil, invalid("operation %d must be an object with the operation's name as its key", i)
		}
		for d.More() {
			key, err := d.Token()
			name, _ := key.(string)
			if err != nil {
				return nil, invalid("operation %d: %v", i, err)
			}
			var r Request
			if err := d.Decode(&r.Body); err != nil {
				return nil, invalid("%s: %v", name, err)
			}
			r.Name = name
			out = append(out, r)
		}
		if _, err := d.Token(); err != nil {
			return nil, invalid("operation %d: %v", i, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, invalid("the body does not end as an array: %v", err)
	}
	return out, nil
}

// operations are all there are.
var operations = map[string]func() described{
	"deployManifest":         func() described { return &deploy{} },
	"deleteManifest":         func() described { return &deletion{} },
	"scaleManifest":          func() described { return &scale{} },
	"resizeServerGroup":      func() described { return &resize{} },
	"patchManifest":          func() described { return &patch{} },
	"undoRolloutManifest":    func() described { return &undo{} },
	"rollingRestartManifest": func() described { return &restart{} },
	"pauseRolloutManifest":   func() described { return &pause{paused: true} },
	"resumeRolloutManifest":  func() described { return &pause{} },
	"enableManifest":         func() described { return &toggle{enable: true} },
	"disableManifest":        func() described { return &toggle{} },
	"runJob":                 func() described { return &runJob{} },
	"destroyJob":             func() described { return &destroyJob{} },
	"cleanupArtifacts":       func() described { return &cleanup{} },
}

// Names are those of all operations, sorted.
func Names() []string { return slices.Sorted(maps.Keys(operations)) }

// described is an operation that decodes its description.
type described interface {
	Operation
	// check refuses what decodes and makes no sense.
	check() error
	named(name string, size int)
}

// Decode makes an operation of a request.
func Decode(r Request) (Operation, error) {
	name, version, at := strings.Cut(r.Name, "@")
	if at && strings.Contains(version, "@") {
		return nil, invalid("operation %q: more than one @", r.Name)
	}
	fresh := operations[name]
	if fresh == nil {
		return nil, invalid("unknown operation %q for provider kubernetes", r.Name)
	}
	op := fresh()
	if body := bytes.TrimSpace(r.Body); len(body) == 0 || body[0] != '{' {
		return nil, invalid("%s: the description must be an object", name)
	}
	if err := jackson.Unmarshal(r.Body, op); err != nil {
		var wrong *jackson.Error
		if errors.As(err, &wrong) && wrong.Path != "" {
			return nil, invalid("%s.%v", name, err)
		}
		return nil, invalid("%s: %v", name, err)
	}
	op.named(name, len(r.Body))
	if op.AccountName() == "" {
		return nil, invalid("%s.account: must be given", name)
	}
	if err := op.check(); err != nil {
		var f finding
		if errors.As(err, &f) {
			c := errorContext(name)
			return nil, FindingError(c + "." + c + "." + string(f))
		}
		return nil, invalid("%s.%v", name, err)
	}
	return op, nil
}

// base is what all descriptions have in common.
type base struct {
	Account     string `json:"account"`
	Credentials string `json:"credentials"`
	name        string
	size        int // of the description, in bytes
}

func (b *base) Name() string                { return b.name }
func (b *base) named(name string, size int) { b.name, b.size = name, size }

// AccountName prefers account; only when it is absent are credentials read.
func (b *base) AccountName() string {
	if b.Account != "" {
		return b.Account
	}
	return b.Credentials
}

// target is the object that an operation names (operations.md 3.1).
type target struct {
	base
	ManifestName string `json:"manifestName"`
	Location     string `json:"location"`
	App          string `json:"app"`
}

func (t target) split() (kind, name string, ok bool) { return spinnaker.SplitFullName(t.ManifestName) }

func (t target) check() error {
	if _, _, ok := t.split(); !ok {
		return fmt.Errorf("manifestName: %q is not a kind, one space and a name, such as \"deployment web\"", t.ManifestName)
	}
	return nil
}

// Validate checks the namespace that the target is in.
func (t target) Validate(v *Validation) []string {
	kind, _, ok := t.split()
	if !ok {
		return nil
	}
	return v.namespace(t.name, kind, t.Location)
}

// Validation is what requests are checked against before anything runs.
type Validation struct {
	Account *account.Account
	// Namespaced tells the scope of a kind, as far as it is known.
	Namespaced func(kindText string) bool
	// OnCancel is jobs.cancelDeletes.
	OnCancel string
}

// namespace checks one as Java Clouddriver does (operations.md 1.3); one that
// is left out is resolved first.
func (v *Validation) namespace(operation, kindText, namespace string) []string {
	if !v.Namespaced(kindText) {
		// The older Go rewrite refuses these, Java Clouddriver does not.
		if len(v.Account.Namespaces) > 0 && v.Account.FromProviders {
			return []string{fmt.Sprintf("%s.%s: the account may use only namespaces %s, and %s is cluster-scoped", errorContext(operation), errorContext(operation), strings.Join(v.Account.Namespaces, ", "), kindText)}
		}
		return nil
	}
	if v.Account.OnlyNamespace() != "" {
		return nil // the request's is replaced by it
	}
	if namespace == "" {
		namespace = v.Account.DefaultNamespace()
	}
	c := errorContext(operation)
	switch {
	case len(v.Account.Namespaces) > 0 && !slices.Contains(v.Account.Namespaces, namespace):
		return []string{c + "." + c + "." + namespace + ".wrongNamespace"}
	case slices.Contains(v.Account.OmitNamespaces, namespace):
		return []string{c + "." + c + "." + namespace + ".omittedNamespace"}
	}
	return nil
}

// errorContext is Java Clouddriver's name of an operation in errors.
func errorContext(operation string) string {
	if operation == "resizeServerGroup" {
		return "deployKubernetesManifest"
	}
	if verb, ok := strings.CutSuffix(operation, "Manifest"); ok {
		return verb + "KubernetesManifest"
	}
	return operation
}

// number is an integer that callers write as a number or as a text.
type number struct {
	n   int64
	set bool
}

func (n *number) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	said, _ := jackson.Text(raw)
	if said = strings.TrimSpace(said); said == "" && raw[0] == '"' {
		return nil
	}
	whole, ok := jackson.Whole(said)
	if !ok || whole > math.MaxInt32 || whole < math.MinInt32 {
		return invalid("%s is not a whole number", shortened(string(raw), lineLimit))
	}
	n.n, n.set = whole, true
	return nil
}

// text is a scalar as text; set tells null from it.
type text struct {
	s   string
	set bool
}

func (t *text) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	t.set = true
	var ok bool
	if t.s, ok = jackson.Text(raw); !ok {
		t.s = string(raw)
	}
	return nil
}

// manifest is an object with its numbers as they were written.
type manifest map[string]any

func (m *manifest) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	if raw[0] != '{' {
		return invalid("a manifest must be an object")
	}
	var out map[string]any
	if err := utiljson.Unmarshal(raw, &out); err != nil {
		return err
	}
	*m = out
	return nil
}

// Trimmed is a request without the members that its operation does not read:
// Orca sends the context of its whole stage.
func Trimmed(r Request) Request {
	name, _, _ := strings.Cut(r.Name, "@")
	fresh := operations[name]
	if fresh == nil {
		return r
	}
	body, err := jackson.Known(r.Body, fresh())
	if err != nil {
		return r // Decode says what is wrong
	}
	return Request{Name: r.Name, Body: body}
}

func cutGroup(apiVersion string) (group, version string, ok bool) {
	return strings.Cut(apiVersion, "/")
}
