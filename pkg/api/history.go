package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// History is the record of what was written; store.Store is one.
type History interface {
	ApplicationHistory(ctx context.Context, spellings []string, before int64, most int) ([]store.HistoryEntry, error)
}

const (
	historyPage = 100
	historyMost = 1000
)

// history tells what was written to an application, by whom and for what, the
// latest first.
func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "application")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	q := r.URL.Query()
	size, err := positive(q, "pageSize", historyPage, historyMost)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	before := int64(0)
	if text := q.Get("before"); text != "" {
		if before, err = strconv.ParseInt(text, 10, 64); err != nil || before < 1 {
			s.fail(w, r, bad("before: %q is not the id of an entry", text))
			return
		}
	}
	found, err := s.History.ApplicationHistory(r.Context(), []string{p[0], s.spelling(p[0])}, before, size)
	if err != nil {
		s.failTask(w, r, err)
		return
	}
	out := map[string]any{"application": p[0], "writes": found}
	if len(found) == size {
		out["next"] = "/applications/" + url.PathEscape(p[0]) + "/history?pageSize=" + strconv.Itoa(size) + "&before=" + strconv.FormatInt(found[len(found)-1].ID, 10)
	}
	s.json(w, r, out)
}
