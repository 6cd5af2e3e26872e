package view

import (
	"encoding/json"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

type rawResource struct {
	Account     string            `json:"account"`
	Name        string            `json:"name"`
	DisplayName string            `json:"displayName"`
	Kind        string            `json:"kind"`
	APIVersion  string            `json:"apiVersion"`
	Namespace   string            `json:"namespace"`
	Region      string            `json:"region"`
	Labels      json.RawMessage   `json:"labels"`
	Moniker     spinnaker.Moniker `json:"moniker"`
	CreatedTime int64             `json:"createdTime,omitempty"`
}

// RawResources renders the objects of an application in one account
// (read-rest.md 4.1).
func RawResources(account string, all []*index.Object) []Element {
	var out []Element
	for _, o := range all {
		out = append(out, row(o, func() Element {
			return Element{Key: account, JSON: encode(rawResource{
				Account: account, Name: o.FullName(), DisplayName: o.Name, Kind: o.Kind.Text, APIVersion: o.Kind.APIVersion, Namespace: o.Namespace, Region: o.Namespace,
				Labels: labels(o), Moniker: o.Moniker(), CreatedTime: o.Created,
			})}
		}))
	}
	return out
}
