// Checks the compose file with Docker Compose's parser and the Dockerfile with BuildKit's, without Docker, and what the workflows promise
// about images. `infra/check.sh` runs it. `cargo xtask compose-test` runs the compose file. With `knative`, checks the platform instead
// (knative.sh).
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"go.yaml.in/yaml/v4"
)

func main() {
	if os.Args[1] == "knative" {
		if err := knative(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		return
	}
	root := os.Args[1]
	compose, err := composeFile(filepath.Join(root, "compose/docker-compose.dev.yaml"))
	if err == nil {
		err = dockerfile(filepath.Join(root, "Dockerfile"))
	}
	if err == nil {
		err = signatures(filepath.Join(root, ".github/workflows"))
	}
	if err == nil {
		err = releases(filepath.Join(root, ".github/workflows"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	fmt.Printf("compose/docker-compose.dev.yaml: %d services; Dockerfile: well-formed, base images pinned; images are signed, deployed by digest, and of a version tested on every platform\n",
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

type job struct {
	If, Uses string
	Needs    []string
	Timeout  int `yaml:"timeout-minutes"`
	Steps    []struct {
		If, Uses, Run string
		Env           map[string]string
	}
}

type workflow struct{ Jobs map[string]job }

func read(folder, name string) (parsed workflow, err error) {
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err == nil {
		err = yaml.Unmarshal(text, &parsed)
	}
	return parsed, err
}

// minutes returns how long a job and those that it needs may take.
func (of workflow) minutes(name string, platforms workflow) (int, error) {
	job, before := of.Jobs[name], 0
	own := job.Timeout
	if job.Uses == platformsFile {
		for _, called := range platforms.Jobs {
			own = max(own, called.Timeout)
		}
	}
	if own == 0 {
		return 0, fmt.Errorf("job %s has no timeout-minutes", name)
	}
	for _, needed := range job.Needs {
		minutes, err := of.minutes(needed, platforms)
		if err != nil {
			return 0, err
		}
		before = max(before, minutes)
	}
	return before + own, nil
}

const platformsFile = "./.github/workflows/platforms.yaml"

// releases checks that the images of a version wait for the tests on every platform, and that a deployment waits for the images.
func releases(folder string) error {
	ci, err := read(folder, "ci.yaml")
	if err != nil {
		return err
	}
	platforms, err := read(folder, "platforms.yaml")
	if err != nil {
		return err
	}
	for _, name := range []string{"compose", "kind", "minikube", "macos"} {
		if platforms.Jobs[name].Timeout == 0 {
			return fmt.Errorf("platforms.yaml: no job %s with timeout-minutes", name)
		}
	}
	waits := false
	for _, needed := range ci.Jobs["images"].Needs {
		called := ci.Jobs[needed]
		waits = waits || called.Uses == platformsFile && called.If == "startsWith(github.ref, 'refs/tags/v')"
	}
	if !waits {
		return fmt.Errorf("ci.yaml: the images of a version tag do not wait for platforms.yaml")
	}
	needed, err := ci.minutes("images", platforms)
	if err != nil {
		return err
	}
	deploy, err := read(folder, "deploy-cloud.yaml")
	if err != nil {
		return err
	}
	for _, step := range deploy.Jobs["deploy"].Steps {
		if found := regexp.MustCompile(`deadline=\$\(\(SECONDS \+ (\d+)\)\)`).FindStringSubmatch(step.Run); found != nil {
			seconds, err := strconv.Atoi(found[1])
			if err != nil {
				return err
			}
			// Half an hour for runners that are busy, and an hour for the deployment itself.
			if seconds/60 < needed+30 || deploy.Jobs["deploy"].Timeout < seconds/60+60 {
				return fmt.Errorf("deploy-cloud.yaml: waits %d minutes for images, which may take %d", seconds/60, needed)
			}
			return nil
		}
	}
	return fmt.Errorf("deploy-cloud.yaml: no step waits for the images")
}

// signatures checks that ci signs an image before a step that a private repository cannot run, and that a deployment uses the digests that it
// verified.
func signatures(folder string) error {
	ci, err := read(folder, "ci.yaml")
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
	deploy, err := read(folder, "deploy-cloud.yaml")
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
