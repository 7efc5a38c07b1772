// Package rest replaces the one of Kubernetes: there is no cluster.
package rest

import "errors"

// ErrNotInCluster is every answer of this client.
var ErrNotInCluster = errors.New("this build of Dapr knows no Kubernetes (dapr/runtime/in-memory)")

// Config is the address of a cluster.
type Config struct{}

// InClusterConfig fails.
func InClusterConfig() (*Config, error) { return nil, ErrNotInCluster }
