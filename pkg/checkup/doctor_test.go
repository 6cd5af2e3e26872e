package checkup

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAddress_TellsWhoDoesNotAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   Verdict
	}{
		"answers":         {func(http.ResponseWriter, *http.Request) {}, Fine},
		"asks who we are": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, Fine},
		"broken":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, Wrong},
		"hangs":           {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, Wrong},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(c.answer)
			defer s.Close()
			f := Address(context.Background(), "Front50", s.URL, "/health", 200*time.Millisecond, Wrong)
			if f.Verdict != c.want || (c.want == Wrong) != (f.Advice != "") {
				t.Errorf("%+v", f)
			}
		})
	}
	if f := Address(context.Background(), "Front50", "", "/health", time.Second, Wrong); f.Verdict != NotUsed {
		t.Errorf("%+v", f)
	}
}

func TestFolder_NamesTheFolderAndWhatFor(t *testing.T) {
	if f := Folder("database", t.TempDir(), "the database"); f.Verdict != Fine {
		t.Errorf("%+v", f)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	if f := Folder("database", missing, "the database"); f.Verdict != Wrong || !strings.Contains(f.Advice, missing) || !strings.Contains(f.Advice, "the database") {
		t.Errorf("%+v", f)
	}
}

func TestFiles_CountsAccounts(t *testing.T) {
	if f := Files(1); f.Verdict != Fine {
		t.Errorf("%+v", f)
	}
	if f := Files(1 << 40); f.Verdict != Wrong || !strings.Contains(f.Advice, "ulimit") {
		t.Errorf("%+v", f)
	}
}

func TestOf_OneBrokenAccountIsAWarning(t *testing.T) {
	fine := Account{Name: "a"}
	for name, c := range map[string]struct {
		accounts []Account
		want     []Verdict
	}{
		"none":      {nil, []Verdict{Wrong}},
		"fine":      {[]Account{fine}, []Verdict{Fine}},
		"one away":  {[]Account{fine, {Name: "b", Problem: "refused"}}, []Verdict{Fine, Doubt}},
		"all away":  {[]Account{{Name: "b", Problem: "refused"}}, []Verdict{Wrong, Doubt}},
		"a kind":    {[]Account{fine, {Name: "b", Denied: []Denied{{Kind: "pod"}}}}, []Verdict{Fine, Doubt}},
		"the clock": {[]Account{fine, {Name: "b", SkewMs: -60_000}}, []Verdict{Fine, Doubt}},
	} {
		found := Of(c.accounts)
		if len(found) != len(c.want) {
			t.Fatalf("%s: %+v", name, found)
		}
		for i, f := range found {
			if f.Verdict != c.want[i] {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
}
