package main

import (
	"context"
	"fmt"

	"github.com/compose-spec/compose-go/v2/cli"
)

// Loads the files as one project: schema, interpolation, references between services, secrets and volumes.
func checkCompose(files []string) error {
	options, err := cli.NewProjectOptions(files, cli.WithOsEnv, cli.WithName("carepath"), cli.WithProfiles([]string{"*"}))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	for name := range project.Services {
		if _, err := project.GetService(name); err != nil {
			return err
		}
	}
	fmt.Printf("compose: %d services\n", len(project.Services))
	return nil
}
