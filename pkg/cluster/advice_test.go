package cluster

import (
	"strings"
	"testing"
)

func TestAdvice_SaysWhatToDo(t *testing.T) {
	for _, c := range []struct {
		reason     Reason
		text, want string
	}{
		{Unauthorized, "401", "renew"},
		{Forbidden, "403", "list and watch"},
		{Unavailable, "tls: x509: unknown", "authority"},
		{Unavailable, "x509: certificate has expired or is not yet valid", "clocks"},
		{Unavailable, "x509: certificate is valid for a, not b", "other names"},
		{Unavailable, "remote error: tls: certificate required", "renew that of the account"},
		{Unavailable, "dial: no such host", "name"},
		{Unavailable, "exec: executable aws not found", "plugin"},
		{Unavailable, "context deadline exceeded", "in time"},
		{Unavailable, "net/http: timeout awaiting response headers", "in time"},
		{Unavailable, "connection refused", "nothing answers"},
		{"", "what?", "log"},
	} {
		if got := Advice(c.reason, c.text); !strings.Contains(got, c.want) {
			t.Errorf("%s %s: got %q, want %q", c.reason, c.text, got, c.want)
		}
	}
}
