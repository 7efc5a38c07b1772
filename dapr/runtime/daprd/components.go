package main

import (
	nrkubernetes "github.com/dapr/components-contrib/nameresolution/kubernetes"
	psmemory "github.com/dapr/components-contrib/pubsub/in-memory"
	"github.com/dapr/components-contrib/secretstores/local/env"
	"github.com/dapr/components-contrib/secretstores/local/file"
	stmemory "github.com/dapr/components-contrib/state/in-memory"

	nameresolution "github.com/dapr/dapr/pkg/components/nameresolution"
	pubsub "github.com/dapr/dapr/pkg/components/pubsub"
	secretstores "github.com/dapr/dapr/pkg/components/secretstores"
	state "github.com/dapr/dapr/pkg/components/state"
)

// Registers the components that need no server. servers.go has the others that dapr/ and the chart use.
// Dapr's own daprd has about 130 components, which account for most of its size and build time.
func init() {
	pubsub.DefaultRegistry.RegisterComponent(psmemory.New, "in-memory")
	state.DefaultRegistry.RegisterComponent(stmemory.NewInMemoryStateStore, "in-memory")
	secretstores.DefaultRegistry.RegisterComponent(env.NewEnvSecretStore, "local.env")
	secretstores.DefaultRegistry.RegisterComponent(file.NewLocalSecretStore, "local.file")
	// Outside of Kubernetes as well: its template gives each app-id a fixed address (dapr/local/name-resolution.yaml).
	nameresolution.DefaultRegistry.RegisterComponent(nrkubernetes.NewResolver, "kubernetes")
}
