package view

import (
	"encoding/json"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// provider is the only cloud provider there is.
const provider = "kubernetes"

// common are the keys of every long form.
type common struct {
	Name          string            `json:"name"`
	DisplayName   string            `json:"displayName"`
	Kind          string            `json:"kind"`
	APIVersion    string            `json:"apiVersion"`
	Account       string            `json:"account"`
	Namespace     string            `json:"namespace"`
	Region        string            `json:"region"`
	CloudProvider string            `json:"cloudProvider"`
	Type          string            `json:"type,omitempty"`
	CreatedTime   int64             `json:"createdTime,omitempty"`
	Moniker       spinnaker.Moniker `json:"moniker"`
	Labels        json.RawMessage   `json:"labels"`
}

// ServerGroup is the long form of a server group (read-lists.md 2.6).
type ServerGroup struct {
	common
	// The next three are only in the expanded list (2.3).
	AccountName         string         `json:"accountName,omitempty"`
	Cluster             string         `json:"cluster,omitempty"`
	Application         string         `json:"application,omitempty"`
	Disabled            bool           `json:"disabled"`
	IsDisabled          bool           `json:"isDisabled"`
	Capacity            capacity       `json:"capacity"`
	BuildInfo           buildInfo      `json:"buildInfo"`
	InstanceCounts      instanceCounts `json:"instanceCounts"`
	Instances           []instance     `json:"instances"`
	LoadBalancers       []string       `json:"loadBalancers"`
	ServerGroupManagers []managerRef   `json:"serverGroupManagers"`
	SecurityGroups      []string       `json:"securityGroups"`
	Zones               []string       `json:"zones"`
	LaunchConfig        struct{}       `json:"launchConfig"`
}

// shortServerGroup is the element of the list (2.3).
type shortServerGroup struct {
	Name                string            `json:"name"`
	DisplayName         string            `json:"displayName"`
	Kind                string            `json:"kind"`
	Account             string            `json:"account"`
	Namespace           string            `json:"namespace"`
	Region              string            `json:"region"`
	Cluster             string            `json:"cluster,omitempty"`
	Application         string            `json:"application,omitempty"`
	Type                string            `json:"type"`
	CloudProvider       string            `json:"cloudProvider"`
	IsDisabled          bool              `json:"isDisabled"`
	Disabled            bool              `json:"disabled"`
	CreatedTime         int64             `json:"createdTime,omitempty"`
	Moniker             spinnaker.Moniker `json:"moniker"`
	BuildInfo           buildInfo         `json:"buildInfo"`
	Capacity            capacity          `json:"capacity"`
	InstanceCounts      instanceCounts    `json:"instanceCounts"`
	Instances           []shortInstance   `json:"instances"`
	LoadBalancers       []string          `json:"loadBalancers"`
	SecurityGroups      []string          `json:"securityGroups"`
	ServerGroupManagers []managerRef      `json:"serverGroupManagers"`
	Labels              json.RawMessage   `json:"labels,omitempty"`
}

// capacity has all three: Orca asks again for ever for a target that has no
// minimum.
type capacity struct {
	Min     int64 `json:"min"`
	Max     int64 `json:"max"`
	Desired int64 `json:"desired"`
	Pinned  bool  `json:"pinned"`
}

type buildInfo struct {
	Images []string `json:"images"`
}

type managerRef struct {
	Account  string `json:"account"`
	Location string `json:"location"`
	Name     string `json:"name"`
}

type instanceCounts struct {
	Total        int `json:"total"`
	Up           int `json:"up"`
	Down         int `json:"down"`
	Unknown      int `json:"unknown"`
	OutOfService int `json:"outOfService"`
	Starting     int `json:"starting"`
}

// instance is the long form (2.9): name is the uid here.
type instance struct {
	ID                string            `json:"id"`
	Name              string            `json:"name"`
	HumanReadableName string            `json:"humanReadableName"`
	DisplayName       string            `json:"displayName"`
	Kind              string            `json:"kind"`
	APIVersion        string            `json:"apiVersion"`
	Account           string            `json:"account"`
	Namespace         string            `json:"namespace"`
	Zone              string            `json:"zone"`
	CloudProvider     string            `json:"cloudProvider"`
	ProviderType      string            `json:"providerType"`
	CreatedTime       int64             `json:"createdTime,omitempty"`
	HealthState       string            `json:"healthState"`
	Moniker           spinnaker.Moniker `json:"moniker"`
	Labels            json.RawMessage   `json:"labels"`
	Health            []health          `json:"health"`
}

// shortInstance is the form inside short server groups: name is the full
// name here.
type shortInstance struct {
	ID               string        `json:"id"`
	Name             string        `json:"name"`
	HealthState      string        `json:"healthState"`
	AvailabilityZone string        `json:"availabilityZone"`
	Health           []shortHealth `json:"health"`
}

type health struct {
	Platform string `json:"platform"`
	Source   string `json:"source"`
	State    string `json:"state"`
	Type     string `json:"type"`
}

type shortHealth struct {
	Type  string `json:"type"`
	State string `json:"state"`
}

// serverGroupManager is the element of its list (2.11).
type serverGroupManager struct {
	common
	ServerGroups []managedGroup `json:"serverGroups"`
}

type managedGroup struct {
	Name      string            `json:"name"`
	Account   string            `json:"account"`
	Namespace string            `json:"namespace"`
	Region    string            `json:"region"`
	Moniker   spinnaker.Moniker `json:"moniker"`
}

// LoadBalancer is a load balancer (2.7).
type LoadBalancer struct {
	common
	ServerGroups []balancedGroup `json:"serverGroups"`
}

type balancedGroup struct {
	Name              string             `json:"name"`
	Account           string             `json:"account"`
	Region            string             `json:"region"`
	CloudProvider     string             `json:"cloudProvider"`
	IsDisabled        bool               `json:"isDisabled"`
	DetachedInstances []string           `json:"detachedInstances"`
	Instances         []balancedInstance `json:"instances"`
}

type balancedInstance struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Zone   string `json:"zone"`
	Health any    `json:"health"`
}

// Cluster is Spinnaker's cluster in full (2.5).
type Cluster struct {
	Name          string            `json:"name"`
	Type          string            `json:"type"`
	AccountName   string            `json:"accountName"`
	Application   string            `json:"application"`
	Moniker       spinnaker.Moniker `json:"moniker"`
	ServerGroups  []ServerGroup     `json:"serverGroups"`
	LoadBalancers []LoadBalancer    `json:"loadBalancers"`
}

// clusterSummary is a cluster by names (2.4).
type clusterSummary struct {
	Name          string            `json:"name"`
	Account       string            `json:"account"`
	Moniker       spinnaker.Moniker `json:"moniker"`
	LoadBalancers []string          `json:"loadBalancers"`
	ServerGroups  []string          `json:"serverGroups"`
}
