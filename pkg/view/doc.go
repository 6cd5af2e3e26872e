// Package view renders what the index holds as the models that Gate, Orca and
// Deck read (spinnaker/clouddriver, clouddriver-kubernetes
// caching/view/model). Its functions are pure: the same snapshot gives the
// same bytes.
package view
