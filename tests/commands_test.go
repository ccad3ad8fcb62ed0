package tests

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// alternatives are the patterns between which the bars of a pattern choose at its top.
func alternatives(pattern string) (all []string) {
	depth, begin := 0, 0
	for i, c := range pattern {
		switch c {
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case '|':
			if depth == 0 {
				all = append(all, pattern[begin:i])
				begin = i + 1
			}
		}
	}
	return append(all, pattern[begin:])
}

var (
	goTestCommand = regexp.MustCompile(`(?:go|\$\(GO\)) test ([^\n&>]*)`)
	makeCommand   = regexp.MustCompile(`(?m)(?:^|[\s"'(])make ((?:[a-z][a-z0-9-]*[ \t]*)+)`)
	nestedSlice   = regexp.MustCompile(`(?m)^\s*(?:slice|lacks)='([^']*)'`)
)

// TestCommandsRunSomething: what the Makefile, scripts and workflows run exists. A -run
// of go test that names nothing passes silently, for each of its alternatives.
func TestCommandsRunSomething(t *testing.T) {
	files := sources(t)
	tr := readTree(files)
	commands := 0
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name != "Makefile" && name != ".ci/run" && filepath.Ext(name) != ".sh" && filepath.Ext(name) != ".yml" {
			continue
		}
		text := string(files[name])
		for _, m := range goTestCommand.FindAllStringSubmatch(text, -1) {
			commands++
			for _, what := range tr.checkGoTest(tr.fromTop(filepath.Dir(name), strings.TrimRight(m[1], ")"))) {
				t.Errorf("%s runs %s, which does not exist", name, what)
			}
		}
		if name == "Makefile" {
			continue
		}
		for _, m := range makeCommand.FindAllStringSubmatch(strings.Join(code(text), "\n"), -1) {
			for target := range strings.FieldsSeq(m[1]) {
				commands++
				if !tr.targets[target] {
					t.Errorf("%s runs make %s, which does not exist", name, target)
				}
			}
		}
	}
	if commands < 20 {
		t.Errorf("only %d commands were found", commands)
	}
	// The machine of make test-nested takes its tests from a script's variables.
	patterns := nestedSlice.FindAllStringSubmatch(string(files["tests/nested/test.sh"]), -1)
	if len(patterns) != 2 {
		t.Fatalf("tests/nested/test.sh has %d lists of tests, want 2", len(patterns))
	}
	for _, m := range patterns {
		for _, one := range alternatives(m[1]) {
			first, _, _ := strings.Cut(one, "/")
			if re, err := regexp.Compile(first); err != nil || !tr.hasTest(re, "tests") {
				t.Errorf("tests/nested/test.sh names %s, which no test of ./tests matches (%v)", first, err)
			}
		}
	}
}

// fromTop writes packages that are there only beside a script as from the top.
func (t *sourceTree) fromTop(dir, arguments string) string {
	words := strings.Fields(arguments)
	for i, word := range words {
		folder, ok := strings.CutPrefix(word, "./")
		if beside := filepath.Join(dir, folder); ok && !t.files[folder] && t.files[beside] {
			words[i] = "./" + beside
		}
	}
	return strings.Join(words, " ")
}

// code are the lines of a script that are no comments.
func code(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			lines = append(lines, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "- run:")))
		}
	}
	return lines
}

// workflow is what GitHub reads of a workflow file; see "Workflow syntax for GitHub
// Actions" in its documentation.
type workflow struct {
	Name        string                 `yaml:"name"`
	On          map[string]any         `yaml:"on"`
	Permissions map[string]string      `yaml:"permissions"`
	Concurrency map[string]any         `yaml:"concurrency"`
	Jobs        map[string]workflowJob `yaml:"jobs"`
}

type workflowJob struct {
	RunsOn    string            `yaml:"runs-on"`
	Needs     string            `yaml:"needs"`
	Timeout   int               `yaml:"timeout-minutes"`
	Container map[string]string `yaml:"container"`
	Steps     []struct {
		Name string            `yaml:"name"`
		Uses string            `yaml:"uses"`
		With map[string]string `yaml:"with"`
		Run  string            `yaml:"run"`
		Env  map[string]string `yaml:"env"`
	} `yaml:"steps"`
}

// TestWorkflows: the workflow files have only keys that GitHub knows, and their jobs,
// needs and files exist.
func TestWorkflows(t *testing.T) {
	paths, err := filepath.Glob("../.github/workflows/*.yml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("workflows %v, %v", paths, err)
	}
	pinned := regexp.MustCompile(`^[\w-]+/[\w-]+@v\d+$`)
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var w workflow
		if err := yaml.Load(b, &w, yaml.WithKnownFields()); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if len(w.On) == 0 || len(w.Jobs) == 0 {
			t.Errorf("%s: on %v, %d jobs", path, w.On, len(w.Jobs))
		}
		for name, job := range w.Jobs {
			if _, ok := w.Jobs[job.Needs]; job.Needs != "" && !ok {
				t.Errorf("%s: %s needs %s, which there is not", path, name, job.Needs)
			}
			if job.RunsOn == "" || job.Timeout == 0 || len(job.Steps) == 0 {
				t.Errorf("%s: %s says not where it runs, for how long at most, or what", path, name)
			}
			for _, step := range job.Steps {
				if (step.Uses == "") == (step.Run == "") || step.Uses != "" && !pinned.MatchString(step.Uses) {
					t.Errorf("%s: a step of %s uses %q and runs %q", path, name, step.Uses, step.Run)
				}
				if file := strings.TrimSpace(step.Run); strings.HasPrefix(file, ".ci/") {
					if info, err := os.Stat("../" + file); err != nil || info.Mode()&0o111 == 0 {
						t.Errorf("%s: %s runs %s: %v", path, name, file, err)
					}
				}
				if file := step.With["go-version-file"]; file != "" {
					if _, err := os.Stat("../" + file); err != nil {
						t.Errorf("%s: %s: %v", path, name, err)
					}
				}
			}
		}
	}
}
