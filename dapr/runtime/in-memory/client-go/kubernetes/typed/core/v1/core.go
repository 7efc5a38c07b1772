// Package v1 has what a function of k8s.io/apiserver asks for that is never called.
package v1

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CoreV1Interface is never implemented.
type CoreV1Interface interface {
	Namespaces() NamespaceInterface
	ServiceAccounts(namespace string) ServiceAccountInterface
}

// NamespaceInterface is never implemented.
type NamespaceInterface interface {
	Get(context.Context, string, metav1.GetOptions) (*corev1.Namespace, error)
	Create(context.Context, *corev1.Namespace, metav1.CreateOptions) (*corev1.Namespace, error)
}

// ServiceAccountInterface is never implemented.
type ServiceAccountInterface interface {
	Get(context.Context, string, metav1.GetOptions) (*corev1.ServiceAccount, error)
	Create(context.Context, *corev1.ServiceAccount, metav1.CreateOptions) (*corev1.ServiceAccount, error)
}
