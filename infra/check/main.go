// Checks the compose file with Docker Compose's parser and the Dockerfile with BuildKit's, without Docker. `infra/check.sh` runs it.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func main() {
	root := os.Args[1]
	compose, err := composeFile(filepath.Join(root, "compose/docker-compose.dev.yaml"))
	if err == nil {
		err = dockerfile(filepath.Join(root, "Dockerfile"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	fmt.Printf("compose/docker-compose.dev.yaml: %d services; Dockerfile: well-formed\n", len(compose.Services))
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
	return project, nil
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
	_, _, err = instructions.Parse(tree.AST, nil)
	return err
}
