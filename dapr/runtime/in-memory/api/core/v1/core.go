// Package v1 has the resources that code names which is never called.
package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Namespace is never read.
type Namespace struct{ metav1.ObjectMeta }

// ServiceAccount is never read.
type ServiceAccount struct{ metav1.ObjectMeta }

// SecretType is never read.
type SecretType string

// Secret is never read.
type Secret struct {
	metav1.ObjectMeta
	Type SecretType
	Data map[string][]byte
}

// What tells the secret of a service account.
const (
	SecretTypeServiceAccountToken SecretType = "kubernetes.io/service-account-token"
	ServiceAccountNameKey                    = "kubernetes.io/service-account.name"
	ServiceAccountUIDKey                     = "kubernetes.io/service-account.uid"
)

// AddToScheme does nothing.
func AddToScheme(*runtime.Scheme) error { return nil }
