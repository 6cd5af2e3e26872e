package operation

import (
	"errors"
	"fmt"
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
	text := cluster.Message(err)
	switch e.Reason {
	case cluster.NotFound:
		if !strings.Contains(text, "not found") {
			text += " (not found)"
		}
	case cluster.Unavailable, cluster.Unauthorized, cluster.Throttled:
		text = "account " + a.Account + ": " + text
	}
	if strings.Contains(text, "metadata.annotations: Too long") {
		text += "; use the annotation " + spinnaker.AnnotationReplace + " or " + spinnaker.AnnotationServerApply + ", which keep no copy of the manifest in it"
	}
	return &ActError{text: s.FullName() + where + ": " + redact(s, e.Reason, text), err: err}
}

// ActError is a step that failed, in words for people.
type ActError struct {
	text string
	err  error
}

func (e *ActError) Error() string { return e.text }

func (e *ActError) Unwrap() error { return e.err }

// redact cuts what may be the content of a secret out of a text: servers and
// webhooks quote what they refuse, in forms that cannot all be foreseen.
func redact(s *Step, reason cluster.Reason, text string) string {
	if s.KindText() != "secret" {
		return text
	}
	if hook, _, denied := strings.Cut(text, " denied the request"); denied {
		return hook + " denied the request; why is not shown, since it may quote the secret"
	}
	if reason == cluster.Unsupported || reason == cluster.Invalid {
		return "the server refused it; why is not shown, since it may quote the secret"
	}
	return text
}
