package service

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestProbes_AnswerNothingElse(t *testing.T) {
	handler := probes(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).Handler
	for target, want := range map[string]int{
		"GET /readyz": 200, "HEAD /health/liveness": 200, "GET /metrics": 200,
		"GET /credentials": 404, "POST /health": 404, "GET /": 404, "GET /health/../credentials": 404,
	} {
		var method, path string
		for i := range target {
			if target[i] == ' ' {
				method, path = target[:i], target[i+1:]
			}
		}
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, httptest.NewRequest(method, path, nil))
		if rec.Code != want {
			t.Errorf("%s: %d, want %d", target, rec.Code, want)
		}
	}
}
