// Checks the compose file with Docker Compose's parser and the Dockerfile with BuildKit's, without Docker, and what the workflows promise
// about images. `infra/check.sh` runs it. `cargo xtask compose-test` runs the compose file.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"go.yaml.in/yaml/v4"
)

func main() {
	root := os.Args[1]
	compose, err := composeFile(filepath.Join(root, "compose/docker-compose.dev.yaml"))
	if err == nil {
		err = dockerfile(filepath.Join(root, "Dockerfile"))
	}
	if err == nil {
		err = signatures(filepath.Join(root, ".github/workflows"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	fmt.Printf("compose/docker-compose.dev.yaml: %d services; Dockerfile: well-formed, base images pinned; images are signed, deployed by digest\n",
		len(compose.Services))
}

// composeFile parses a compose file. It rejects bind mounts of missing files, because Docker would create empty folders instead.
func composeFile(path string) (*types.Project, error) {
	options, err := cli.NewProjectOptions([]string{path}, cli.WithEnv(nil))
	if err != nil {
		return nil, err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return nil, err
	}
	for _, service := range project.Services {
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(volume.Source); err != nil {
				return nil, fmt.Errorf("service %s: %w", service.Name, err)
			}
		}
	}
	if err := startable(project); err != nil {
		return nil, err
	}
	return project, hashed(path)
}

// Services that run without a health check in the compose file, and why.
var unchecked = map[string]string{
	"mailpit":   "its image has one",
	"dashboard": "nothing waits for it, and its image promises no program that could check it",
}

// startable rejects services that `docker compose up --build --wait` cannot bring up.
func startable(project *types.Project) error {
	builders := map[string]string{}
	for _, name := range project.ServiceNames() {
		service := project.Services[name]
		check := service.HealthCheck
		switch {
		case check != nil && (check.Disable || len(check.Test) > 0 && check.Test[0] == "NONE"):
			return fmt.Errorf("service %s: `up --wait` of Compose 2 fails where a health check is disabled: give it a real one", name)
		case check != nil && len(check.Test) > 0 && filepath.Base(check.Test[len(check.Test)-1]) == "true":
			return fmt.Errorf("service %s: its health check cannot fail", name)
		case check == nil && service.Restart != "" && unchecked[name] == "":
			return fmt.Errorf("service %s: it has no health check, so `up --wait` does not wait for it", name)
		}
		if service.Build == nil {
			continue
		}
		if other := builders[service.Image]; other != "" {
			return fmt.Errorf("services %s and %s both build %s: two images by their labels, and the last one gets the tag", other, name, service.Image)
		}
		builders[service.Image] = name
	}
	for name, service := range project.Services {
		if builders[service.Image] != "" && service.Build == nil && service.PullPolicy != types.PullPolicyNever {
			return fmt.Errorf("service %s: another service builds %s: say `pull_policy: never`, or Compose asks a registry for it", name, service.Image)
		}
	}
	return nil
}

// hashed rejects variables where Compose does not notice another value: it keeps the containers whose configs or secrets changed.
func hashed(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	type file struct{ Content, Environment string }
	var parsed struct{ Configs, Secrets map[string]file }
	if err := yaml.Unmarshal(text, &parsed); err != nil {
		return err
	}
	for _, files := range []map[string]file{parsed.Configs, parsed.Secrets} {
		for name, file := range files {
			if strings.Contains(file.Content, "${") || file.Environment != "" {
				return fmt.Errorf("config or secret %s: Compose ignores a new value of its variable while the service runs: use `environment`", name)
			}
		}
	}
	return nil
}

func dockerfile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	tree, err := parser.Parse(file)
	if err != nil {
		return err
	}
	for _, warning := range tree.Warnings {
		return fmt.Errorf("Dockerfile: %s", warning.Short)
	}
	stages, arguments, err := instructions.Parse(tree.AST, nil)
	if err != nil {
		return err
	}
	return pinned(stages, arguments)
}

// pinned rejects a base image without a digest: its tag can move to other code.
func pinned(stages []instructions.Stage, arguments []instructions.ArgCommand) error {
	known := map[string]bool{"scratch": true}
	defaults := map[string]string{}
	for _, argument := range arguments {
		for _, pair := range argument.Args {
			if pair.Value != nil {
				defaults[pair.Key] = *pair.Value
			}
		}
	}
	for _, stage := range stages {
		base := os.Expand(stage.BaseName, func(name string) string { return defaults[name] })
		if !known[base] && !regexp.MustCompile(`@sha256:[0-9a-f]{64}$`).MatchString(base) {
			return fmt.Errorf("Dockerfile: the base image %q has no digest", base)
		}
		known[stage.Name] = true
	}
	return nil
}

type workflow struct {
	Jobs map[string]struct {
		Steps []struct {
			If, Uses, Run string
			Env           map[string]string
		}
	}
}

// signatures checks that ci signs an image before a step that a private repository cannot run, and that a deployment uses the digests that it
// verified.
func signatures(folder string) error {
	read := func(name string) (parsed workflow, err error) {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err == nil {
			err = yaml.Unmarshal(text, &parsed)
		}
		return parsed, err
	}
	ci, err := read("ci.yaml")
	if err != nil {
		return err
	}
	signed := false
	for _, step := range ci.Jobs["images"].Steps {
		signed = signed || strings.Contains(step.Run, "cosign sign")
		if strings.HasPrefix(step.Uses, "actions/attest") && (!signed || step.If == "") {
			return fmt.Errorf("ci.yaml: %s must come after `cosign sign` and have a condition: it fails in private repositories", step.Uses)
		}
	}
	if !signed {
		return fmt.Errorf("ci.yaml: nothing signs the images")
	}
	deploy, err := read("deploy-cloud.yaml")
	if err != nil {
		return err
	}
	for _, step := range deploy.Jobs["deploy"].Steps {
		if strings.Contains(step.Run, "infra/deploy/deploy.sh") && !strings.Contains(step.Env["IMAGE_DIGESTS"], "steps.images.outputs.digests") {
			return fmt.Errorf("deploy-cloud.yaml: what runs need not be what was verified: IMAGE_DIGESTS is missing")
		}
	}
	return nil
}
