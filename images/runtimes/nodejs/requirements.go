package nodejs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"seuss/images/runtimes"
)

// Files of npm.
const (
	packageFile = "package.json"
	lockFile    = "package-lock.json"
	modules     = "node_modules"
)

// requirements are the Runtime's Requirements: packages, by npm.
var requirements = &runtimes.Requirements{File: packageFile, Scripts: true, Install: install}

// install installs what a package.json asks for, at the versions of a package-lock.json beside
// it if there is one.
func install(ctx context.Context, o runtimes.Install) (*runtimes.Fetched, error) {
	program, err := exec.LookPath("npm")
	if err != nil {
		return nil, errors.New("there is no npm in PATH; install it with: apt-get install npm")
	}
	command, err := copyProject(filepath.Dir(o.File), o.Dir)
	if err != nil {
		return nil, err
	}
	words := []string{program, command, "--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier", "--install-links", "--allow-git=none"}
	if !o.AllowScripts {
		words = append(words, "--ignore-scripts")
	}
	if err := runtimes.RunInstaller(ctx, o.Dir, words...); err != nil {
		return nil, err
	}
	dir := filepath.Join(o.Dir, modules)
	if err := os.MkdirAll(dir, 0o755); err != nil { // it asks for nothing
		return nil, err
	}
	// What npm notes of the installation would make equal packages differ.
	if err := os.Remove(filepath.Join(dir, ".package-lock.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &runtimes.Fetched{Dir: dir, Below: "var/task/" + modules, Owner: moduleOf}, nil
}

// copyProject copies what npm reads of a directory, and returns the command to give it.
func copyProject(from, to string) (command string, err error) {
	text, err := os.ReadFile(filepath.Join(from, packageFile))
	if err != nil {
		return "", err
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(text, &doc); err != nil {
		return "", err
	}
	for _, field := range []string{"dependencies", "optionalDependencies"} {
		var list map[string]string
		if raw, ok := doc[field]; ok {
			if err := json.Unmarshal(raw, &list); err != nil {
				return "", fmt.Errorf("%s: %w", field, err)
			}
		}
		for name, spec := range list {
			if err := copyArchive(from, to, name, spec); err != nil {
				return "", err
			}
		}
	}
	// The project's own scripts are nothing that a function's packages need.
	delete(doc, "scripts")
	delete(doc, "workspaces")
	if text, err = json.Marshal(doc); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(to, packageFile), text, 0o644); err != nil {
		return "", err
	}
	lock, err := os.ReadFile(filepath.Join(from, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "install", nil
	} else if err != nil {
		return "", err
	}
	return "ci", os.WriteFile(filepath.Join(to, lockFile), lock, 0o644)
}

// copyArchive takes a dependency that is an archive beside package.json, and refuses what
// comes from elsewhere than a registry.
func copyArchive(from, to, name, spec string) error {
	file, local := strings.CutPrefix(spec, "file:")
	switch {
	case local && filepath.IsLocal(file) && strings.HasSuffix(file, ".tgz"):
		text, err := os.ReadFile(filepath.Join(from, file))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(to, file)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, file), text, 0o644)
		}
		return err
	case strings.HasPrefix(spec, "npm:") || !strings.ContainsAny(spec, ":/"):
		return nil
	}
	return fmt.Errorf("dependency %s: %q: want a version of the registry, or file:NAME.tgz of an archive beside it", name, spec)
}

// moduleOf is the package at the top of node_modules that a file belongs to: those below
// it are its own.
func moduleOf(name string) string {
	parts := strings.SplitN(name, "/", 3)
	if strings.HasPrefix(parts[0], "@") && len(parts) > 1 {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}
