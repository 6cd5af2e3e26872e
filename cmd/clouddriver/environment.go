package main

import (
	"os"
	"slices"
	"strings"
)

// kept are the variables that the process goes on with: those by which programs,
// certificates, proxies and the cluster around it are found. All others are for
// the settings, which have been read, and may be secrets: a credential plugin
// that the service runs must not inherit them.
var kept = []string{
	"PATH", "HOME", "USER", "TMPDIR", "TZ", "LANG", "HOSTNAME", "SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT",
}

// environment keeps a copy of the process's variables, for settings that are read
// again.
func environment() func(string) string {
	copied := map[string]string{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		copied[name] = value
	}
	return func(name string) string { return copied[name] }
}

// forget takes from the process what is not kept and what is not named.
func forget(named []string) {
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if !slices.Contains(kept, name) && !slices.Contains(named, name) {
			_ = os.Unsetenv(name) // it is one that is set
		}
	}
}
