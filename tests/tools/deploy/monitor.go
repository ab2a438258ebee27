package main

import (
	"fmt"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

// Each file is one ServiceMonitor or PrometheusRule of the Prometheus operator, without a field that it does not know.
func checkMonitors(files []string) error {
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var kind struct {
			Kind string `json:"kind"`
		}
		if err := yaml.Unmarshal(text, &kind); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		kinds := map[string]any{"ServiceMonitor": &monitoring.ServiceMonitor{}, "PrometheusRule": &monitoring.PrometheusRule{}}
		if kinds[kind.Kind] == nil {
			return fmt.Errorf("%s: kind %q, expected ServiceMonitor or PrometheusRule", name, kind.Kind)
		}
		if err := yaml.UnmarshalStrict(text, kinds[kind.Kind]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	fmt.Printf("monitors: %d of the Prometheus operator\n", len(files))
	return nil
}
