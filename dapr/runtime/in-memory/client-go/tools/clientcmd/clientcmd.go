// Package clientcmd replaces the one of Kubernetes: there is no cluster.
package clientcmd

import "k8s.io/client-go/rest"

// BuildConfigFromFlags fails.
func BuildConfigFromFlags(string, string) (*rest.Config, error) { return nil, rest.ErrNotInCluster }

// RESTConfigFromKubeConfig fails.
func RESTConfigFromKubeConfig([]byte) (*rest.Config, error) { return nil, rest.ErrNotInCluster }
