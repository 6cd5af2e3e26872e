package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// loggedBody is how much of a body is logged.
const loggedBody = 16 << 10

// verbose logs requests for somebody who is looking for a fault. What may be
// a credential is masked: a log is read by more people than a database.
func (s *Server) verbose(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers := map[string]string{}
		for name, values := range r.Header {
			if secret(name) {
				values = []string{masked}
			}
			headers[name] = strings.Join(values, ", ")
		}
		// Only the start is held back; the handler reads all of it.
		start, err := io.ReadAll(io.LimitReader(r.Body, loggedBody))
		if err == nil {
			r.Body = rest{io.MultiReader(bytes.NewReader(start), r.Body), r.Body}
		}
		s.Log.Info("request", "method", r.Method, "path", r.URL.Path, "query", r.URL.RawQuery, "headers", headers, "body", maskedBody(start))
		next.ServeHTTP(w, r)
	})
}

type rest struct {
	io.Reader
	io.Closer
}

const masked = "***"

func secret(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"token", "authorization", "cookie", "password", "secret", "api-key", "apikey", "cadata", "credential"} {
		if strings.Contains(name, word) && name != "tokenprovider" {
			return true
		}
	}
	return false
}

// maskedBody hides credentials in a JSON body. One that is cut off or not JSON
// is not shown: nobody can tell what is in it.
func maskedBody(body []byte) string {
	if len(body) == 0 {
		return ""
	}
	var model any
	if json.Unmarshal(body, &model) != nil {
		return "(not shown: no JSON, or too long)"
	}
	out, err := json.Marshal(maskedModel(model))
	if err != nil {
		return "(not shown)"
	}
	return string(out)
}

// content says whether a key may hold a secret's content. What a patch is for
// is said elsewhere than in it.
func content(key string) bool {
	switch key {
	case "data", "stringData", "patchBody", "kubectl.kubernetes.io/last-applied-configuration":
		return true
	}
	return false
}

func maskedModel(model any) any {
	switch v := model.(type) {
	case []any:
		for i := range v {
			v[i] = maskedModel(v[i])
		}
	case map[string]any:
		for key, inner := range v {
			if secret(key) || content(key) {
				v[key] = masked
			} else {
				v[key] = maskedModel(inner)
			}
		}
	}
	return model
}
