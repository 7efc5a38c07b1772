package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

// calls is how many calls at a time a daprd makes into its function, by function.
type calls map[string]string

// functions finds every function with its daprd in the compose file and in dapr.yaml, called by as many at a time as where
// `cargo xtask up` starts it.
func functions(root string, compose *types.Project) error {
	code, err := callsInCode(root)
	if err != nil {
		return err
	}
	composed, err := callsInCompose(compose)
	if err != nil {
		return err
	}
	run, err := callsInDaprYaml(filepath.Join(root, "dapr/dapr.yaml"))
	if err != nil {
		return err
	}
	for file, found := range map[string]calls{"compose/docker-compose.dev.yaml": composed, "dapr/dapr.yaml": run} {
		for function, limit := range code {
			if found[function] != limit {
				return fmt.Errorf("%s: %s is called %q at a time, and %s in xtask/src/dapr.rs", file, function, found[function], limit)
			}
			delete(found, function)
		}
		for function := range found {
			return fmt.Errorf("%s: %s has a daprd and is not in functions/", file, function)
		}
	}
	return nil
}

func callsInCode(root string) (calls, error) {
	source, err := os.ReadFile(filepath.Join(root, "xtask/src/dapr.rs"))
	if err != nil {
		return nil, err
	}
	constants := map[string]string{}
	for _, found := range regexp.MustCompile(`const (CALLS|CALLBACKS): u32 = (\d+);`).FindAllStringSubmatch(string(source), -1) {
		constants[found[1]] = found[2]
	}
	if len(constants) != 2 {
		return nil, fmt.Errorf("xtask/src/dapr.rs: no CALLS and CALLBACKS")
	}
	folders, err := os.ReadDir(filepath.Join(root, "functions"))
	if err != nil {
		return nil, err
	}
	code := calls{}
	for _, folder := range folders {
		code[folder.Name()] = constants["CALLS"]
	}
	code["reminder-due"] = constants["CALLBACKS"]
	return code, nil
}

func callsInCompose(compose *types.Project) (calls, error) {
	found := calls{}
	for _, service := range compose.Services {
		daprd := slices.Concat(service.Entrypoint, service.Command)
		at := slices.Index(daprd, "--app-id")
		if at < 0 || at+1 == len(daprd) {
			continue
		}
		function := daprd[at+1]
		if _, err := compose.GetService(function); err != nil || service.Name != function+"-daprd" {
			return nil, fmt.Errorf("compose/docker-compose.dev.yaml: %s is no daprd of a function", service.Name)
		}
		for _, argument := range daprd {
			if limit, is := strings.CutPrefix(argument, "--app-max-concurrency="); is {
				found[function] = limit // the last one counts, as it does for daprd
			}
		}
	}
	return found, nil
}

func callsInDaprYaml(path string) (calls, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	type limited struct {
		Limit string `yaml:"appMaxConcurrency"`
	}
	var run struct {
		Common limited
		Apps   []struct {
			ID      string `yaml:"appID"`
			limited `yaml:",inline"`
		}
	}
	if err := yaml.Unmarshal(text, &run); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	found := calls{}
	for _, app := range run.Apps {
		found[app.ID] = app.Limit
		if app.Limit == "" {
			found[app.ID] = run.Common.Limit
		}
	}
	return found, nil
}
