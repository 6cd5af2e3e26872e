package cluster

import (
	"context"
	"strings"
)

// advices go by what the text of an error says, before those by its reason.
var advices = []struct{ says, do string }{
	{context.DeadlineExceeded.Error(), "the API server does not answer in time: look at its load, at the network between, and at credential plugins that hang"},
	{"timeout", "the API server does not answer in time: look at its load, at the network between, and at credential plugins that hang"},
	{"has not answered within", "the API server does not answer in time: look at its load, at the network between, and at credential plugins that hang"},
	{"has expired or is not yet valid", "the server's certificate is out of date, or a clock is: renew it, look at the clocks"},
	{"certificate is valid for", "the server's certificate is for other names: use one of those as the address, or set the server name"},
	{"remote error: tls", "the server does not take our certificate: renew that of the account"},
	{"x509", "the server's certificate is not trusted: set the authority of the account (certificate-authority-data, caData)"},
	{"failed to verify certificate", "the server's certificate is not trusted: set the authority of the account (certificate-authority-data, caData)"},
	{"no such host", "the name of the server is not known here: correct it, or the DNS of this machine"},
	{"executable", "the credential plugin does not run: install it beside this program, it is called as the kubeconfig says"},
	{"exec:", "the credential plugin fails: run it by hand as the kubeconfig says, in the environment of this program"},
}

// Advice is what an operator can do about a failure of a cluster, by its reason
// and its text.
func Advice(reason Reason, text string) string {
	switch reason {
	case Unauthorized:
		return "the credentials are not accepted: renew the token, certificate or plugin of the account"
	case Forbidden:
		return "the identity may not do this: give it list and watch on the kind, or leave the kind out with omitKinds"
	case Invalid:
		return "correct the account's kubeconfig or provider entry"
	case TooLarge:
		return "the cluster lists more of the kind than watch.maxListObjects or watch.maxListBytes: raise that and the memory, narrow the account by labelSelector or namespaces, or leave the kind out with omitKinds"
	case Throttled:
		return "the API server refuses for load: look at its priority and fairness settings for this identity"
	}
	for _, a := range advices {
		if strings.Contains(text, a.says) {
			return a.do
		}
	}
	if reason == Unavailable {
		return "nothing answers there: look at the address, the network between, and whether the API server runs"
	}
	return "the log of the service has more"
}
