// Package kubernetes replaces the one of Kubernetes: there is no cluster.
package kubernetes

import "k8s.io/client-go/rest"

// Clientset is never made.
type Clientset struct{}

// NewForConfig fails.
func NewForConfig(*rest.Config) (*Clientset, error) { return nil, rest.ErrNotInCluster }
