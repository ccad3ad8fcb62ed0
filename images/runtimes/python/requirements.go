package python

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"seuss/images/runtimes"
)

// pipScript runs pip in a process that starts no other: what builds a package, or fetches
// it with git, would have to (Python's audit events, PEP 578; no hook can be taken away).
const pipScript = `import runpy, sys
STARTS = ("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn", "subprocess.Popen")
def hook(event, args):
    if event in STARTS:
        raise PermissionError("only wheels are taken: nothing that was fetched is run")
sys.addaudithook(hook)
sys.argv = ["pip"] + sys.argv[1:]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
`

// The C libraries that wheels may be built for: newer ones than the oldest that images have
// are left alone (PEP 600, PEP 656).
const (
	oldestGlibc, newestGlibc = 5, 31 // 2.x
	newestMusl               = 2     // 1.x
)

// requirements are the Runtime's Requirements: wheels, by pip.
var requirements = &runtimes.Requirements{File: "requirements*.txt", FindLinks: true, Install: install}

func install(ctx context.Context, o runtimes.Install) (*runtimes.Fetched, error) {
	if err := checkFile(o.File, 0); err != nil {
		return nil, err
	}
	python, err := findPip(ctx)
	if err != nil {
		return nil, err
	}
	version := runtimes.Parts(o.Version, 2)
	if version == "" {
		return nil, fmt.Errorf("the image does not say which Python it has")
	}
	file, err := filepath.Abs(o.File)
	if err != nil {
		return nil, err
	}
	target := filepath.Join(o.Dir, "packages")
	abi := "cp" + strings.ReplaceAll(version, ".", "")
	words := []string{
		python, "-c", pipScript, "install", "--disable-pip-version-check", "--no-input", "--no-compile", "--quiet", "--no-warn-script-location",
		"--only-binary", ":all:", "--target", target, "--requirement", file,
		"--implementation", "cp", "--python-version", version, "--abi", abi, "--abi", "abi3", "--abi", "none",
	}
	for _, p := range platforms(o.Musl) {
		words = append(words, "--platform", p)
	}
	for n, dir := range o.FindLinks {
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, err
		}
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			return nil, errors.Join(fmt.Errorf("--find-links %s: want a directory of wheels", o.FindLinks[n]), err)
		}
		words = append(words, "--no-index", "--find-links", dir)
	}
	if err := runtimes.RunInstaller(ctx, o.Dir, words...); err != nil {
		return nil, err
	}
	owners, err := tidy(target)
	if err != nil {
		return nil, err
	}
	return &runtimes.Fetched{
		Dir: target, Below: "opt/python/lib/python" + version + "/site-packages",
		Owner: func(name string) string { return owners[name] },
	}, nil
}

// findPip returns the first Python of PATH that has pip.
func findPip(ctx context.Context) (string, error) {
	for _, name := range []string{"python3", "python", "/usr/bin/python3"} {
		file, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if exec.CommandContext(ctx, file, "-c", "import sys, pip; sys.addaudithook").Run() == nil {
			return file, nil
		}
	}
	return "", errors.New("no python3 in PATH has pip; install it with: apt-get install python3-pip")
}

func platforms(musl bool) (list []string) {
	if musl {
		for n := newestMusl; n > 0; n-- {
			list = append(list, fmt.Sprintf("musllinux_1_%d_x86_64", n))
		}
		return append(list, "linux_x86_64")
	}
	for n := newestGlibc; n >= oldestGlibc; n-- {
		list = append(list, fmt.Sprintf("manylinux_2_%d_x86_64", n))
		if old := map[int]string{17: "manylinux2014", 12: "manylinux2010", oldestGlibc: "manylinux1"}[n]; old != "" {
			list = append(list, old+"_x86_64")
		}
	}
	return append(list, "linux_x86_64")
}

// maxDepth is how deep files of requirements may name others.
const maxDepth = 8

// plainOptions may stand on lines of their own: they say where wheels come from and which.
var plainOptions = regexp.MustCompile(`^(-i|--index-url|--extra-index-url|-f|--find-links|--no-index|--pre|--prefer-binary|--require-hashes|--trusted-host|--only-binary)\b`)

// checkFile refuses what would have pip build something: pip takes such lines whatever it
// was told on its command line.
func checkFile(file string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: files of requirements name each other more than %d deep", file, maxDepth)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text = bytes.ReplaceAll(text, []byte("\\\n"), []byte(" "))
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if at := strings.Index(" "+line, " #"); at >= 0 {
			line = strings.TrimSpace(line[:max(0, at-1)])
		}
		word, rest, _ := strings.Cut(strings.Replace(line, "=", " ", 1), " ")
		switch {
		case line == "" || plainOptions.MatchString(line):
		case word == "-r" || word == "--requirement" || word == "-c" || word == "--constraint":
			if err := checkFile(filepath.Join(filepath.Dir(file), strings.TrimSpace(rest)), depth+1); err != nil {
				return err
			}
		case strings.HasPrefix(line, "-"):
			return fmt.Errorf("line %d: %q: only wheels are taken, which this option would change", n, line)
		case (strings.Contains(line, "://") || strings.HasPrefix(line, ".") || strings.HasPrefix(line, "/")) && !isWheel(line):
			return fmt.Errorf("line %d: %q: want a name, or a wheel (.whl): nothing that was fetched is run to build it", n, line)
		}
	}
	return lines.Err()
}

func isWheel(line string) bool {
	line, _, _ = strings.Cut(line, " ;")
	line, _, _ = strings.Cut(line, " --hash")
	if strings.Contains(line, "git+") {
		return false
	}
	line, _, _ = strings.Cut(line, "#")
	return strings.HasSuffix(strings.TrimSpace(line), ".whl")
}

// What pip notes of an installation, and not of what was installed: with it equal packages
// would differ.
var notes = []string{"REQUESTED", "direct_url.json", "INSTALLER"}

// tidy takes out what is not the packages' own, and returns whose each file is: what a
// package's RECORD lists is its own, the first one's of several. bin is left out: its
// scripts begin with the path of the host's interpreter.
func tidy(dir string) (map[string]string, error) {
	if err := os.RemoveAll(filepath.Join(dir, "bin")); err != nil {
		return nil, err
	}
	records, err := filepath.Glob(filepath.Join(dir, "*.dist-info", "RECORD"))
	if err != nil {
		return nil, err
	}
	owners := map[string]string{}
	for _, file := range records {
		info := filepath.Base(filepath.Dir(file))
		name := strings.TrimSuffix(info, ".dist-info")
		own, err := trimRecord(file, info)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, f := range own {
			if owners[f] == "" {
				owners[f] = name
			}
		}
	}
	return owners, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if owners[rel] == "" {
			owners[rel] = "files of no package"
		}
		return err
	})
}

// trimRecord takes the notes out of a package's directory and its RECORD, and returns the
// files that are listed there.
func trimRecord(file, info string) (own []string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var kept bytes.Buffer
	r, w := csv.NewReader(bytes.NewReader(text)), csv.NewWriter(&kept)
	r.FieldsPerRecord = -1
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		name := path.Clean(row[0])
		note := false
		for _, n := range notes {
			note = note || name == path.Join(info, n)
		}
		if note || !fs.ValidPath(name) {
			continue // what leads out of the directory is a script in bin
		}
		own = append(own, name)
		if err := w.Write(row); err != nil {
			return nil, err
		}
	}
	w.Flush()
	for _, n := range notes {
		if err := os.Remove(filepath.Join(filepath.Dir(file), n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return own, os.WriteFile(file, kept.Bytes(), 0o644)
}
