// Validates the Kubernetes manifests on standard input as the API server and the webhooks would: `validate <folder of CRDs>`.
// Prints valid manifests as one JSON array on standard output. Otherwise prints the errors on standard error and fails.
//
//   - Kubernetes' own kinds are decoded strictly into their Go types: an unknown or duplicate field is an error.
//   - Knative's kinds are decoded in the same way. Then the defaults and the validation of Knative's webhook run.
//   - Dapr's kinds are validated against the schemas of its CRDs. An unknown field is an error.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/config"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	servingv1beta1 "knative.dev/serving/pkg/apis/serving/v1beta1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

var kinds = map[string]func() any{
	"apps/v1/Deployment":                        func() any { return new(appsv1.Deployment) },
	"autoscaling/v2/HorizontalPodAutoscaler":    func() any { return new(autoscalingv2.HorizontalPodAutoscaler) },
	"batch/v1/CronJob":                          func() any { return new(batchv1.CronJob) },
	"batch/v1/Job":                              func() any { return new(batchv1.Job) },
	"networking.k8s.io/v1/Ingress":              func() any { return new(networkingv1.Ingress) },
	"networking.k8s.io/v1/NetworkPolicy":        func() any { return new(networkingv1.NetworkPolicy) },
	"policy/v1/PodDisruptionBudget":             func() any { return new(policyv1.PodDisruptionBudget) },
	"rbac.authorization.k8s.io/v1/Role":         func() any { return new(rbacv1.Role) },
	"rbac.authorization.k8s.io/v1/RoleBinding":  func() any { return new(rbacv1.RoleBinding) },
	"serving.knative.dev/v1/Service":            func() any { return new(servingv1.Service) },
	"serving.knative.dev/v1beta1/DomainMapping": func() any { return new(servingv1beta1.DomainMapping) },
	"v1/ConfigMap":                              func() any { return new(corev1.ConfigMap) },
	"v1/Namespace":                              func() any { return new(corev1.Namespace) },
	"v1/PersistentVolumeClaim":                  func() any { return new(corev1.PersistentVolumeClaim) },
	"v1/Secret":                                 func() any { return new(corev1.Secret) },
	"v1/Service":                                func() any { return new(corev1.Service) },
	"v1/ServiceAccount":                         func() any { return new(corev1.ServiceAccount) },
}

func main() {
	if len(os.Args) != 2 {
		fail(errors.New("usage: validate <folder of CRDs>"))
	}
	schemas, err := readSchemas(os.Args[1])
	if err != nil {
		fail(err)
	}
	documents := []any{}
	wrong := false
	for reader := utilyaml.NewYAMLReader(bufio.NewReader(os.Stdin)); ; {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			fail(err)
		}
		var document map[string]any
		if err := yaml.UnmarshalStrict(text, &document); err != nil {
			fail(fmt.Errorf("%w in\n%s", err, text))
		}
		if len(document) == 0 {
			continue
		}
		documents = append(documents, document)
		name := fmt.Sprintf("%v/%v", document["apiVersion"], document["kind"])
		if err := check(name, text, document, schemas); err != nil {
			wrong = true
			fmt.Fprintf(os.Stderr, "%s %v: %v\n", name, document["metadata"].(map[string]any)["name"], err)
		}
	}
	if wrong {
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(documents); err != nil {
		fail(err)
	}
}

func check(name string, text []byte, document map[string]any, schemas map[string]*spec.Schema) error {
	if schema := schemas[name]; schema != nil {
		return validate.NewSchemaValidator(schema, nil, "", strfmt.Default).Validate(document).AsError()
	}
	empty := kinds[name]
	if empty == nil {
		return errors.New("a kind that this program does not know")
	}
	object := empty()
	// yaml.UnmarshalStrict would ignore the case of field names; the API server does not.
	exact, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	if unknown, err := kjson.UnmarshalStrict(exact, object); err != nil || len(unknown) > 0 {
		return errors.Join(append(unknown, err)...)
	}
	if knative, ok := object.(interface {
		apis.Defaultable
		apis.Validatable
	}); ok {
		ctx := apis.WithinCreate(withFeatures(context.Background()))
		knative.SetDefaults(ctx)
		if err := knative.Validate(ctx); err != nil {
			return err
		}
	}
	return nil
}

// readSchemas returns the schema of every version of every CRD, by "group/version/kind".
func readSchemas(folder string) (map[string]*spec.Schema, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no CRDs in %s", folder)
	}
	schemas := map[string]*spec.Schema{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var crd struct {
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct{ OpenAPIV3Schema map[string]any }
				}
			}
		}
		if err := yaml.Unmarshal(text, &crd); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, version := range crd.Spec.Versions {
			closed := version.Schema.OpenAPIV3Schema
			closed["properties"].(map[string]any)["metadata"] = map[string]any{"type": "object", "required": []any{"name"}}
			closeObjects(closed)
			text, err := json.Marshal(closed)
			if err != nil {
				return nil, err
			}
			schema := new(spec.Schema)
			if err := json.Unmarshal(text, schema); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			schemas[fmt.Sprintf("%s/%s/%s", crd.Spec.Group, version.Name, crd.Spec.Names.Kind)] = schema
		}
	}
	return schemas, nil
}

// closeObjects makes a schema reject unknown fields, which the API server would silently drop.
func closeObjects(schema map[string]any) {
	properties, _ := schema["properties"].(map[string]any)
	for _, property := range properties {
		closeObjects(property.(map[string]any))
	}
	for _, inner := range []string{"items", "additionalProperties"} {
		if inner, ok := schema[inner].(map[string]any); ok {
			closeObjects(inner)
		}
	}
	if properties != nil && schema["additionalProperties"] == nil && schema["x-kubernetes-preserve-unknown-fields"] != true {
		schema["additionalProperties"] = false
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "validate:", err)
	os.Exit(1)
}

// withFeatures enables the feature flags of infra/platform/knative.
func withFeatures(ctx context.Context) context.Context {
	settings := config.FromContextOrDefaults(ctx)
	settings.Features.PodSpecNodeSelector = config.Enabled
	settings.Features.PodSpecTolerations = config.Enabled
	settings.Features.PodSpecPriorityClassName = config.Enabled
	settings.Features.PodSpecTopologySpreadConstraints = config.Enabled
	return config.ToContext(ctx, settings)
}
