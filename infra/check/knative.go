package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// object is the part of a Kubernetes object that this check reads.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     struct {
		MinAvailable   any `yaml:"minAvailable"`
		MaxUnavailable any `yaml:"maxUnavailable"`
		MaxReplicas    int `yaml:"maxReplicas"`
		Template       struct {
			Spec struct{ Containers []container }
		}
	}
}

type container struct {
	Resources struct{ Requests struct{ CPU string } }
}

// knative checks the renderings of infra/platform/knative and infra/platform/knative-oke, and the sums of CPU requests in docs/clouds.md.
func knative(everywhere, oke, page string) error {
	all, err := objects(everywhere)
	if err != nil {
		return err
	}
	ofOKE, err := objects(oke)
	if err != nil {
		return err
	}
	if err := errors.Join(drainable(all), drainable(ofOKE), fits(ofOKE)); err != nil {
		return err
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	said := regexp.MustCompile("Knative and Kourier ([0-9.]+) \\(([0-9.]+) without").FindSubmatch(text)
	if said == nil {
		return fmt.Errorf("%s does not say how much of a core Knative and Kourier request", page)
	}
	for place, rendered := range [][]object{ofOKE, all} {
		found, err := requests(rendered)
		if err != nil {
			return err
		}
		if wanted, err := cores(string(said[place+1])); err != nil || math.Abs(wanted-found) > 0.001 {
			return fmt.Errorf("%s says that Knative and Kourier request %s of a core; they request %.3g", page, said[place+1], found)
		}
	}
	return nil
}

func objects(path string) ([]object, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	decoder := yaml.NewDecoder(file)
	var all []object
	for {
		var one object
		switch err := decoder.Decode(&one); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, one)
	}
}

// drainable rejects a disruption budget that demands a part of its pods: of a single replica, no pod could ever be evicted.
func drainable(all []object) error {
	budgets := 0
	for _, one := range all {
		if one.Kind != "PodDisruptionBudget" {
			continue
		}
		budgets++
		if one.Spec.MinAvailable != nil || one.Spec.MaxUnavailable == nil || fmt.Sprint(one.Spec.MaxUnavailable) == "0" {
			return fmt.Errorf("PodDisruptionBudget %s holds the drain of a node", one.Metadata.Name)
		}
	}
	if budgets < 3 {
		return fmt.Errorf("%d disruption budgets: those of Knative and Kourier were not found", budgets)
	}
	return nil
}

// fits rejects an autoscaler that could add pods. It aims at the whole CPU request, which knative-oke lowers to less than a busy pod uses.
func fits(all []object) error {
	autoscalers := 0
	for _, one := range all {
		if one.Kind != "HorizontalPodAutoscaler" {
			continue
		}
		autoscalers++
		if one.Spec.MaxReplicas != 1 {
			return fmt.Errorf("HorizontalPodAutoscaler %s: the free node has no room for %d pods", one.Metadata.Name, one.Spec.MaxReplicas)
		}
	}
	if autoscalers < 3 {
		return fmt.Errorf("%d autoscalers: those of Knative and Kourier were not found", autoscalers)
	}
	return nil
}

// requests returns the sum of the CPU requests of all Deployments, in cores. Each has one replica.
func requests(all []object) (float64, error) {
	sum := 0.0
	for _, one := range all {
		if one.Kind != "Deployment" {
			continue
		}
		for _, container := range one.Spec.Template.Spec.Containers {
			requested, err := cores(container.Resources.Requests.CPU)
			if err != nil {
				return 0, fmt.Errorf("Deployment %s: %w", one.Metadata.Name, err)
			}
			sum += requested
		}
	}
	return sum, nil
}

// cores parses a Kubernetes quantity such as 50m or 0.2. Nothing requested is 0.
func cores(quantity string) (float64, error) {
	if quantity == "" {
		return 0, nil
	}
	if number, isMilli := strings.CutSuffix(quantity, "m"); isMilli {
		value, err := strconv.ParseFloat(number, 64)
		return value / 1000, err
	}
	return strconv.ParseFloat(quantity, 64)
}
