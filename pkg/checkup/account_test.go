package checkup

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
)

func TestSkew_IsZeroWithinTheSecondThatAClockShows(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 10, 0, time.UTC)
	for ours, want := range map[time.Duration]time.Duration{
		0: 0, 900 * time.Millisecond: 0, -3 * time.Second: 3 * time.Second, 4 * time.Second: -3 * time.Second,
	} {
		if got := skew(at, at.Add(ours)); got != want {
			t.Errorf("%s: got %s, want %s", ours, got, want)
		}
	}
}

func TestAccounts_OneThatHangsCostsItsOwnRow(t *testing.T) {
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hangs.Close()
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Unauthorized","code":401}`)
	}))
	defer refuses.Close()
	told := 0
	rows := Accounts(context.Background(), []*account.Account{
		{Name: "hangs", REST: &rest.Config{Host: hangs.URL}},
		{Name: "invalid", Invalid: errors.New("caData is no base64")},
		{Name: "refuses", REST: &rest.Config{Host: refuses.URL}},
	}, 300*time.Millisecond, func(int) { told++ })
	if told != len(rows) {
		t.Errorf("told of %d rows", told)
	}
	for i, want := range []struct {
		advice    string
		reachable bool
	}{{"in time", false}, {"kubeconfig or provider entry", false}, {"renew", true}} {
		if !strings.Contains(rows[i].Advice, want.advice) || rows[i].Reachable != want.reachable || rows[i].Problem == "" || rows[i].OK() {
			t.Errorf("%+v", rows[i])
		}
	}
}
