package view

import (
	"cmp"
	"slices"

	"github.com/datapunchorg/go-clouddriver/pkg/front50"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
)

// ProjectCounts are instances by their health.
type projectCounts struct {
	Total        int `json:"total"`
	Up           int `json:"up"`
	Down         int `json:"down"`
	Unknown      int `json:"unknown"`
	OutOfService int `json:"outOfService"`
	Starting     int `json:"starting"`
}

func (c *projectCounts) add(o projectCounts) {
	c.Total += o.Total
	c.Up += o.Up
	c.Down += o.Down
	c.Unknown += o.Unknown
}

type projectBuild struct {
	BuildNumber string   `json:"buildNumber"`
	Deployed    int64    `json:"deployed"`
	Images      []string `json:"images"`
}

type projectRegion struct {
	Region         string         `json:"region"`
	LastPush       int64          `json:"lastPush"`
	InstanceCounts projectCounts  `json:"instanceCounts"`
	Builds         []projectBuild `json:"builds"`
}

type projectApplication struct {
	Application string          `json:"application"`
	LastPush    int64           `json:"lastPush"`
	Clusters    []projectRegion `json:"clusters"`
}

// ProjectCluster is one cluster of a project's dashboard (read-rest.md 3.3;
// spinnaker/clouddriver, ProjectClustersService).
type ProjectCluster struct {
	Account        string               `json:"account"`
	Stack          *string              `json:"stack,omitempty"`
	Detail         *string              `json:"detail,omitempty"`
	InstanceCounts projectCounts        `json:"instanceCounts"`
	Applications   []projectApplication `json:"applications"`
}

// NewProjectCluster renders one. groups gives an application's server groups in
// the cluster's account.
func NewProjectCluster(p front50.Project, c front50.Cluster, groups func(application string) []index.Group) ProjectCluster {
	out := ProjectCluster{Account: c.Account, Stack: c.Stack, Detail: c.Detail, Applications: []projectApplication{}}
	applications := c.Applications
	if len(applications) == 0 {
		applications = p.Config.Applications
	}
	for _, name := range applications {
		one := projectApplication{Application: name, Clusters: []projectRegion{}}
		regions := map[string]*projectRegion{}
		for _, g := range groups(name) {
			m := g.Moniker()
			if _, disabled := traffic(g); disabled || len(g.Instances) == 0 || !matchesPart(c.Stack, m.Stack) || !matchesPart(c.Detail, m.Detail) {
				continue
			}
			at := regions[g.Namespace]
			if at == nil {
				at = &projectRegion{Region: g.Namespace, Builds: []projectBuild{{BuildNumber: "0", Images: []string{}}}}
				regions[g.Namespace] = at
			}
			at.add(g)
		}
		for _, at := range regions {
			one.Clusters = append(one.Clusters, *at)
			one.LastPush = max(one.LastPush, at.LastPush)
			out.InstanceCounts.add(at.InstanceCounts)
		}
		slices.SortFunc(one.Clusters, func(a, b projectRegion) int { return cmp.Compare(a.Region, b.Region) })
		out.Applications = append(out.Applications, one)
	}
	return out
}

// matchesPart compares a stack or detail: * is any, nothing only none.
func matchesPart(wanted *string, has string) bool {
	switch {
	case wanted == nil:
		return has == ""
	case *wanted == "*":
		return true
	}
	return *wanted == has
}

func (r *projectRegion) add(g index.Group) {
	for _, pod := range g.Instances {
		r.InstanceCounts.Total++
		switch stateOf(healthOf(pod)) {
		case up:
			r.InstanceCounts.Up++
		case down:
			r.InstanceCounts.Down++
		default:
			r.InstanceCounts.Unknown++
		}
	}
	r.LastPush = max(r.LastPush, g.Created)
	build := &r.Builds[0]
	build.Deployed = r.LastPush
	for _, image := range g.Group.Images {
		if !slices.Contains(build.Images, image) {
			build.Images = append(build.Images, image)
		}
	}
	slices.Sort(build.Images)
}
