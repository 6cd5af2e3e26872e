package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/datapunchorg/go-clouddriver/pkg/front50"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// Front50 knows projects and applications; front50.Client is one.
type Front50 interface {
	Project(ctx context.Context, name string) (front50.Project, error)
	Projects(ctx context.Context) ([]map[string]any, error)
	Applications(ctx context.Context) ([]map[string]any, error)
}

// projectClusters answers Deck's project dashboard (read-rest.md 3.3).
func (s *Server) projectClusters(r *request) (reply, error) {
	p := r.segments("project")
	unknown := view.NotFoundError("Project not found: (name: " + p[0] + ")")
	if s.Front50 == nil {
		return reply{}, unknown
	}
	project, err := s.Front50.Project(r.Context(), p[0])
	switch {
	case errors.Is(err, front50.ErrNotFound):
		return reply{}, unknown
	case err != nil:
		return reply{}, problem{status: http.StatusServiceUnavailable, message: err.Error()}
	}
	out := []view.ProjectCluster{}
	for _, c := range project.Config.Clusters {
		out = append(out, view.NewProjectCluster(project, c, func(application string) []index.Group {
			return s.sees(r).Part(application, c.Account, index.Groups).Groups
		}))
	}
	return answered(newAnswer(view.Encode(out))), nil
}
