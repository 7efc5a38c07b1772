// Package client has what Dapr's resources implement.
package client

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Object is a resource.
type Object interface {
	metav1.Object
	runtime.Object
}

// ObjectKey names a resource.
type ObjectKey = types.NamespacedName

// Reader reads resources.
type Reader interface {
	Get(ctx context.Context, key ObjectKey, resource any) error
}
