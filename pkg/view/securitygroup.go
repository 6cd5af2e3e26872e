package view

import (
	"cmp"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Summary is a security group in lists.
type Summary struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

// Summaries are an account's security groups by namespace (read-rest.md 3.1).
func Summaries(all []*index.Object) map[string][]Summary {
	out := map[string][]Summary{}
	for _, o := range all {
		out[o.Namespace] = append(out[o.Namespace], Summary{o.FullName(), o.FullName()})
	}
	for _, list := range out {
		slices.SortFunc(list, func(a, b Summary) int {
			return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.ID, b.ID))
		})
	}
	return out
}

type portRange struct {
	StartPort     *int64 `json:"startPort,omitempty"`
	EndPort       *int64 `json:"endPort,omitempty"`
	StartPortName string `json:"startPortName,omitempty"`
	EndPortName   string `json:"endPortName,omitempty"`
}

type rule struct {
	Protocol   string      `json:"protocol,omitempty"`
	PortRanges []portRange `json:"portRanges,omitempty"`
}

// SecurityGroup is one security group with its rules.
type SecurityGroup struct {
	Account       string            `json:"account"`
	AccountName   string            `json:"accountName"`
	ID            string            `json:"id"`
	Name          string            `json:"name"`
	DisplayName   string            `json:"displayName"`
	Namespace     string            `json:"namespace"`
	Region        string            `json:"region"`
	Kind          string            `json:"kind"`
	APIVersion    string            `json:"apiVersion"`
	CloudProvider string            `json:"cloudProvider"`
	Type          string            `json:"type"`
	Application   string            `json:"application,omitempty"`
	CreatedTime   int64             `json:"createdTime,omitempty"`
	Labels        json.RawMessage   `json:"labels"`
	Moniker       spinnaker.Moniker `json:"moniker"`
	Summary       Summary           `json:"summary"`
	InboundRules  []rule            `json:"inboundRules"`
	OutboundRules []rule            `json:"outboundRules"`
}

// NewSecurityGroup renders the long form of a security group whose whole
// manifest is given.
func NewSecurityGroup(account string, o *index.Object, manifest *unstructured.Unstructured) SecurityGroup {
	m := o.Moniker()
	out := SecurityGroup{
		Account: account, AccountName: account, ID: o.FullName(), Name: o.FullName(), DisplayName: o.Name, Namespace: o.Namespace, Region: o.Namespace,
		Kind: o.Kind.Text, APIVersion: o.Kind.APIVersion, CloudProvider: provider, Type: provider, Application: m.App, CreatedTime: o.Created,
		Labels: labels(o), Moniker: m, Summary: Summary{o.FullName(), o.FullName()}, InboundRules: []rule{}, OutboundRules: []rule{},
	}
	switch o.Kind.APIVersion {
	case "extensions/v1beta1", "networking.k8s.io/v1beta1", "networking.k8s.io/v1":
		out.InboundRules, out.OutboundRules = rulesOf(manifest, "ingress"), rulesOf(manifest, "egress")
	}
	return out
}

func rulesOf(policy *unstructured.Unstructured, direction string) []rule {
	out := []rule{}
	list, _, _ := unstructured.NestedSlice(policy.Object, "spec", direction)
	for _, r := range list {
		r, _ := r.(map[string]any)
		ports, _ := r["ports"].([]any)
		for _, p := range ports {
			p, ok := p.(map[string]any)
			if !ok {
				continue
			}
			one := rule{Protocol: text(p["protocol"])}
			if ports, ok := portsOf(p); ok {
				one.PortRanges = []portRange{ports}
			}
			if !slices.ContainsFunc(out, func(known rule) bool { return reflect.DeepEqual(known, one) }) {
				out = append(out, one)
			}
		}
	}
	return out
}

func portsOf(p map[string]any) (portRange, bool) {
	number, isNumber := p["port"].(int64)
	if name, ok := p["port"].(string); ok {
		n, err := strconv.ParseInt(name, 10, 64)
		if err != nil {
			return portRange{StartPortName: name, EndPortName: name}, true
		}
		number, isNumber = n, true
	}
	if !isNumber {
		return portRange{}, false
	}
	end := number
	if e, ok := p["endPort"].(int64); ok {
		end = e
	}
	return portRange{StartPort: &number, EndPort: &end}, true
}
