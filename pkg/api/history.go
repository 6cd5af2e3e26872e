package api

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/task"
)

// History is the record of what was written; store.Store is one.
type History interface {
	ApplicationHistory(ctx context.Context, spellings []string, before int64, most int) ([]store.HistoryEntry, error)
}

const (
	historyPage = 100
	historyMost = 1000
)

// seenHistory is what was written to accounts that the caller may read.
func (s *Server) seenHistory(r *request, all []store.HistoryEntry) []store.HistoryEntry {
	out := make([]store.HistoryEntry, 0, len(all))
	for _, e := range all {
		if s.sees(r).account(e.Account) {
			e.Context = asSaid(e.Context)
			out = append(out, e)
		}
	}
	return out
}

// asSaid is what the request said of itself, without what was found out of it.
func asSaid(raw json.RawMessage) json.RawMessage {
	var said task.Context
	if json.Unmarshal(raw, &said) != nil {
		return raw
	}
	said.Accounts = nil
	out, err := json.Marshal(said)
	if err != nil {
		return raw
	}
	return out
}

// history tells what was written to an application, by whom and for what, the
// latest first.
func (s *Server) history(r *request) (reply, error) {
	p := r.segments("application")
	q := r.URL.Query()
	size, err := positive(q, "pageSize", historyPage, historyMost)
	if err != nil {
		return reply{}, err
	}
	before := int64(0)
	if text := q.Get("before"); text != "" {
		if before, err = strconv.ParseInt(text, 10, 64); err != nil || before < 1 {
			return reply{}, bad("before: %q is not the id of an entry", text)
		}
	}
	found, err := s.History.ApplicationHistory(r.Context(), []string{p[0], s.spelling(p[0])}, before, size)
	if err != nil {
		return reply{}, taskProblem(err)
	}
	out := map[string]any{"application": p[0], "writes": s.seenHistory(r, found)}
	if len(found) == size {
		out["next"] = "/applications/" + url.PathEscape(p[0]) + "/history?pageSize=" + strconv.Itoa(size) + "&before=" + strconv.FormatInt(found[len(found)-1].ID, 10)
	}
	return model(out)
}
