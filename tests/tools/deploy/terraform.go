package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// A folder of .tf files: what it declares, and where it refers to what.
type module struct {
	dir       string
	variables map[string]bool // name -> has a default
	declared  map[string]bool // "local.x", "aws_vpc.main", "data.aws_region.here", "module.vpc"
	outputs   map[string]bool
	calls     map[string]*hclsyntax.Block
	bodies    []*hclsyntax.Body
	providers map[string]bool
}

// Names that every expression may use. `each`, `self`, ... belong to their block.
var builtin = []string{"each", "count", "self", "path", "terraform", "null", "true", "false"}

func checkTerraform(dirs []string) error {
	modules := map[string]*module{}
	var faults []error
	for _, dir := range dirs {
		m, err := readModule(dir)
		if err != nil {
			return err
		}
		modules[filepath.Clean(dir)] = m
	}
	for _, m := range modules {
		faults = append(faults, m.check(modules)...)
	}
	if len(faults) == 0 {
		fmt.Printf("terraform: %d folders parsed, formatted, references resolved\n", len(modules))
	}
	return errors.Join(faults...)
}

func readModule(dir string) (*module, error) {
	m := &module{dir: dir, variables: map[string]bool{}, declared: map[string]bool{}, outputs: map[string]bool{},
		calls: map[string]*hclsyntax.Block{}, providers: map[string]bool{}}
	files, err := filepath.Glob(filepath.Join(dir, "*.tf"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s: no .tf files (%v)", dir, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(hclwrite.Format(text), text) {
			return nil, fmt.Errorf("%s: not formatted (terraform fmt)", name)
		}
		file, diags := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
		if diags.HasErrors() {
			return nil, diags
		}
		body := file.Body.(*hclsyntax.Body)
		m.bodies = append(m.bodies, body)
		for _, block := range body.Blocks {
			m.declare(block)
		}
	}
	return m, nil
}

func (m *module) declare(b *hclsyntax.Block) {
	switch b.Type {
	case "variable":
		m.variables[b.Labels[0]] = b.Body.Attributes["default"] != nil
	case "output":
		m.outputs[b.Labels[0]] = true
	case "locals":
		for name := range b.Body.Attributes {
			m.declared["local."+name] = true
		}
	case "resource":
		m.declared[b.Labels[0]+"."+b.Labels[1]] = true
	case "data", "ephemeral":
		m.declared[b.Type+"."+b.Labels[0]+"."+b.Labels[1]] = true
	case "module":
		m.declared["module."+b.Labels[0]] = true
		m.calls[b.Labels[0]] = b
	case "terraform":
		for _, inner := range b.Body.Blocks {
			if inner.Type == "required_providers" {
				for name := range inner.Body.Attributes {
					m.providers[name] = true
				}
			}
		}
	}
}

func (m *module) check(all map[string]*module) []error {
	var faults []error
	for _, body := range m.bodies {
		for _, block := range body.Blocks {
			if block.Type == "resource" || block.Type == "data" || block.Type == "ephemeral" {
				if provider, _, _ := strings.Cut(block.Labels[0], "_"); !m.providers[provider] {
					faults = append(faults, fmt.Errorf("%s: %s: provider %s is not in required_providers", block.TypeRange, block.Labels[0], provider))
				}
			}
		}
		faults = append(faults, m.checkReferences(body, all)...)
	}
	for name, call := range m.calls {
		target := m.called(name, all)
		if target == nil {
			faults = append(faults, fmt.Errorf("%s: module %s: its source is no checked folder", call.TypeRange, name))
			continue
		}
		faults = append(faults, checkCall(call, target)...)
	}
	return faults
}

// The module that a call's source names, relative to this folder.
func (m *module) called(name string, all map[string]*module) *module {
	attribute := m.calls[name].Body.Attributes["source"]
	if attribute == nil {
		return nil
	}
	value, diags := attribute.Expr.Value(nil)
	if diags.HasErrors() {
		return nil
	}
	return all[filepath.Join(m.dir, value.AsString())]
}

func checkCall(call *hclsyntax.Block, target *module) []error {
	var faults []error
	for name, attribute := range call.Body.Attributes {
		if slices.Contains([]string{"source", "version", "for_each", "count", "depends_on", "providers"}, name) {
			continue
		}
		if _, known := target.variables[name]; !known {
			faults = append(faults, fmt.Errorf("%s: %s has no variable %s", attribute.SrcRange, target.dir, name))
		}
	}
	for name, optional := range target.variables {
		if !optional && call.Body.Attributes[name] == nil {
			faults = append(faults, fmt.Errorf("%s: %s needs %s", call.TypeRange, target.dir, name))
		}
	}
	return faults
}

// Each traversal in a body, blocks within included; `dynamic` blocks and for expressions bring names of their own,
// which Variables leaves out or which are listed in scope.
func (m *module) checkReferences(body *hclsyntax.Body, all map[string]*module) []error {
	var faults []error
	var walk func(b *hclsyntax.Body, scope []string)
	walk = func(b *hclsyntax.Body, scope []string) {
		for _, attribute := range b.Attributes {
			for _, traversal := range hclsyntax.Variables(attribute.Expr) {
				if fault := m.resolve(traversal, scope, all); fault != "" {
					faults = append(faults, fmt.Errorf("%s: %s", traversal.SourceRange(), fault))
				}
			}
		}
		for _, block := range b.Blocks {
			inner := scope
			if block.Type == "dynamic" {
				inner = append(slices.Clone(scope), block.Labels[0])
			}
			if block.Type == "required_providers" || block.Type == "lifecycle" {
				continue // their words are not references
			}
			if block.Type == "variable" {
				continue // types are words, and validations refer to the variable itself
			}
			walk(block.Body, inner)
		}
	}
	walk(body, builtin)
	return faults
}

func (m *module) resolve(t hcl.Traversal, scope []string, all map[string]*module) string {
	names := []string{t.RootName()}
	for _, step := range t[1:] {
		attribute, ok := step.(hcl.TraverseAttr)
		if !ok {
			if len(names) >= 2 && names[0] != "module" {
				break
			}
			continue // module.x[0].y
		}
		names = append(names, attribute.Name)
	}
	if slices.Contains(scope, names[0]) || m.providers[names[0]] && len(names) == 1 {
		return ""
	}
	if len(names) < 2 {
		return names[0] + " is nothing that is declared"
	}
	switch names[0] {
	case "var":
		if _, known := m.variables[names[1]]; !known {
			return "var." + names[1] + " is not declared"
		}
	case "module":
		if m.calls[names[1]] == nil {
			return "module." + names[1] + " is not declared"
		}
		target := m.called(names[1], all)
		if target != nil && len(names) > 2 && !target.outputs[names[2]] {
			return target.dir + " has no output " + names[2]
		}
	case "data", "ephemeral":
		if len(names) < 3 || !m.declared[names[0]+"."+names[1]+"."+names[2]] {
			return strings.Join(names, ".") + " is not declared"
		}
	default:
		if !m.declared[names[0]+"."+names[1]] {
			return names[0] + "." + names[1] + " is not declared"
		}
	}
	return ""
}
