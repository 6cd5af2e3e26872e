package operation

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// explain says what failed on which object, for the people who read the task.
func (a *Actor) explain(s *Step, r cluster.Resource, err error) error {
	var e *cluster.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", s.FullName(), err)
	}
	where := ""
	if r.Namespaced {
		where = fmt.Sprintf(" in namespace %q", s.Namespace)
	}
	text := redact(s, e, cluster.Message(err))
	switch e.Reason {
	case cluster.NotFound:
		if !strings.Contains(text, "not found") {
			text += " (not found)"
		}
	case cluster.Unavailable, cluster.Unauthorized, cluster.Throttled:
		text = "account " + a.Account + ": " + text
	case cluster.Conflict:
		text = conflict(err, text)
	}
	if s.Action == Patch {
		text = shortened(text, patchLimit) // servers quote the patch that they refuse
	}
	if strings.Contains(text, "metadata.annotations: Too long") {
		text += "; use the annotation " + spinnaker.AnnotationReplace + " or " + spinnaker.AnnotationServerApply + ", which keep no copy of the manifest in it"
	}
	return &ActError{text: s.FullName() + where + ": " + text, err: err}
}

// patchLimit is how much of a refusal is shown that may quote a patch.
const patchLimit = 2 * lineLimit

// conflict says what to do about one, whoever the other is.
func conflict(err error, text string) string {
	if cluster.OwnedByOthers(err) {
		return text + ". Leave these fields out of the manifest, or set the annotation " + spinnaker.AnnotationServerApply + " to force-conflicts to take them over"
	}
	if strings.Contains(text, "in precondition") || strings.Contains(text, "metadata.uid") {
		return errReplaced.Error()
	}
	return fmt.Sprintf("others changed the object each of the %d times that this was tried: run the stage again, and if it happens often, find out who writes to it (%s)", conflictAttempts+1, shortened(text, lineLimit))
}

// ActError is a step that failed, in words for people.
type ActError struct {
	text string
	err  error
}

func (e *ActError) Error() string { return e.text }

func (e *ActError) Unwrap() error { return e.err }

// redact cuts what may be the content of a secret out of a text: servers and
// webhooks quote what they refuse, in forms that cannot all be foreseen. What
// is shown of a refusal are the fields and the rules, and never a value.
func redact(s *Step, e *cluster.Error, text string) string {
	if s.KindText() != "secret" {
		return text
	}
	for _, verdict := range []string{" denied the request", " denied request"} {
		if who, _, denied := strings.Cut(text, verdict); denied {
			return who + " denied the request; why is not shown, since it may quote the secret"
		}
	}
	switch {
	case e.Code == 0, e.Reason == cluster.NotFound, e.Reason == cluster.NoKind, e.Reason == cluster.Exists, e.Reason == cluster.Conflict,
		e.Reason == cluster.Forbidden, e.Reason == cluster.Unauthorized, e.Reason == cluster.Throttled:
		return text
	}
	if known := harmless.FindAllString(text, -1); strings.Contains(text, "cannot be handled as a Secret") && len(known) > 0 {
		return "the server refused it: " + strings.Join(known, ", ")
	}
	var causes []string
	for _, c := range e.Causes {
		causes = append(causes, c.Field+": "+withoutValue(c.Message))
	}
	if len(causes) == 0 {
		return "the server refused it; why is not shown, since it may quote the secret"
	}
	return "the server refused it: " + strings.Join(causes, ", ")
}

// harmless are the parts of a decoding error that name fields and types.
var harmless = regexp.MustCompile(`unknown field "[^"]*"|illegal base64 data at input byte \d+|cannot unmarshal \w+ into Go struct field [\w.]+ of type [\w.\[\]]+`)

// withoutValue is a cause such as `Invalid value: "x": must be a name` without
// the value (apimachinery, pkg/util/validation/field, Error.ErrorBody).
func withoutValue(message string) string {
	kind, rest, quotes := strings.Cut(message, " value: ")
	if !quotes || kind == "Required" {
		return message // Forbidden, Required, Too long: these quote nothing
	}
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return kind + " value"
	}
	return kind + " value" + strings.TrimPrefix(rest, quoted)
}
