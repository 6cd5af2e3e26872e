package service

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func ask(f *front, path string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec
}

func TestFront_AnswersFromTheFirstMomentToTheLast(t *testing.T) {
	f := newFront()
	refused := func(when string) {
		t.Helper()
		if rec := ask(f, "/applications"); rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" || rec.Header().Get("Connection") != "close" {
			t.Errorf("%s: %d %v", when, rec.Code, rec.Header())
		}
		if rec := ask(f, "/health/liveness"); rec.Code != http.StatusOK {
			t.Errorf("%s: not alive: %d", when, rec.Code)
		}
	}
	refused("before the parts are there")
	begun, hold := make(chan struct{}), make(chan struct{})
	f.open(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-hold
		}
		w.WriteHeader(http.StatusOK)
	}))
	if rec := ask(f, "/applications"); rec.Code != http.StatusOK || rec.Header().Get("Connection") != "" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	f.close()
	if rec := ask(f, "/applications"); rec.Code != http.StatusOK || rec.Header().Get("Connection") != "close" {
		t.Errorf("while it closes: %d %v", rec.Code, rec.Header())
	}
	slow := make(chan int)
	go func() { slow <- ask(f, "/slow").Code }()
	<-begun
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if left := f.refuse(short); left != 1 {
		t.Errorf("%d requests are left, want 1", left)
	}
	refused("while one is under way")
	close(hold)
	if code := <-slow; code != http.StatusOK {
		t.Errorf("the one under way got %d", code)
	}
	<-f.idle
	refused("at the end")
}

func TestFront_IsIdleAtOnceWhenNothingIsUnderWay(t *testing.T) {
	f := newFront()
	f.open(http.NotFoundHandler())
	if left := f.refuse(t.Context()); left != 0 {
		t.Errorf("%d left", left)
	}
}
