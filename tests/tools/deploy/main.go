// Checks of deployment files for tests/tools/deploy.sh that need a library and no network:
//
//	deploycheck compose FILE...        the Compose specification, with this environment
//	deploycheck terraform FOLDER...    HCL that parses, is formatted, and whose references resolve
//	deploycheck monitors FILE...       objects of the Prometheus operator
package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) error{"compose": checkCompose, "terraform": checkTerraform, "monitors": checkMonitors}
	if len(os.Args) < 3 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: deploycheck compose|terraform|monitors PATH...")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
