// Package controllerruntime replaces the one of Kubernetes: there is no cluster, so no manager is ever made.
package controllerruntime

import (
	"context"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Request names the resource that changed.
type Request struct{ types.NamespacedName }

// Result of a reconciliation.
type Result struct{}

// Reconciler is told about changes.
type Reconciler interface {
	Reconcile(context.Context, Request) (Result, error)
}

// Options of a manager.
type Options struct {
	Logger                        logr.Logger
	Scheme                        *runtime.Scheme
	HealthProbeBindAddress        string
	Metrics                       server.Options
	LeaderElectionID              string
	LeaderElectionReleaseOnCancel bool
}

// Cache reads resources.
type Cache interface {
	client.Reader
	GetInformer(ctx context.Context, resource any) (any, error)
	WaitForCacheSync(context.Context) bool
}

// Manager runs controllers.
type Manager interface {
	GetCache() Cache
	Start(context.Context) error
}

// GetConfig fails.
func GetConfig() (*rest.Config, error) { return rest.InClusterConfig() }

// NewManager fails.
func NewManager(*rest.Config, Options) (Manager, error) { return nil, rest.ErrNotInCluster }

// Builder of a controller.
type Builder struct{}

// NewControllerManagedBy returns a builder that does nothing.
func NewControllerManagedBy(Manager) *Builder { return &Builder{} }

// Named does nothing.
func (b *Builder) Named(string) *Builder { return b }

// For does nothing.
func (b *Builder) For(any) *Builder { return b }

// Complete fails.
func (b *Builder) Complete(Reconciler) error { return rest.ErrNotInCluster }
