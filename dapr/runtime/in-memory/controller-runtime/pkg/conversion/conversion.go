// Package conversion has what Dapr's resources implement.
package conversion

import "k8s.io/apimachinery/pkg/runtime"

// Hub is a resource in the version that others are converted to.
type Hub interface {
	runtime.Object
	Hub()
}
