package debian

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"seuss/images/source"
)

// Package is an installed Debian package.
type Package struct {
	name    string // without the architecture
	id      string // as dpkg-query wants it, name or name:arch
	version string
	depends [][]string // each a list of alternatives, names only
}

// database is the set of packages installed on this host.
type database struct {
	root      string // of the file system; "" = the host's own
	byName    map[string]*Package
	providers map[string][]*Package // of virtual packages
}

// packageFields is the format of one line of dpkg-query(1), tabs between.
const packageFields = "${Package}\t${binary:Package}\t${Architecture}\t${db:Status-Status}\t${Version}\t${Pre-Depends}\t${Depends}\t${Provides}\n"

var errNoDpkg = fmt.Errorf("collect from installed packages: dpkg-query is missing; this needs a Debian or Ubuntu host with the package dpkg, or an image from elsewhere (image build --from): %w", source.ErrNoPackages)

// readPackages asks dpkg for all packages of this architecture that are installed in
// the file system at root, "" being the host's own.
func readPackages(ctx context.Context, root string) (*database, error) {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		return nil, errNoDpkg
	}
	db := &database{root: root, byName: map[string]*Package{}, providers: map[string][]*Package{}}
	out, err := db.query(ctx, "-W", "-f", packageFields)
	if err != nil {
		return nil, err
	}
	return db, db.parse(out)
}

// query runs dpkg-query(1) on the database.
func (db *database) query(ctx context.Context, args ...string) ([]byte, error) {
	if db.root != "" {
		args = append([]string{"--admindir=" + filepath.Join(db.root, "var/lib/dpkg")}, args...)
	}
	return runTool(ctx, "dpkg-query", args...)
}

// parse reads lines in the format packageFields.
func (db *database) parse(out []byte) error {
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		f := strings.Split(sc.Text(), "\t")
		if len(f) != 8 {
			return fmt.Errorf("package list: line %.80q has %d fields, want 8", sc.Text(), len(f))
		}
		if f[3] != "installed" || f[2] != "amd64" && f[2] != "all" {
			continue
		}
		p := &Package{name: f[0], id: f[1], version: f[4]}
		for _, list := range []string{f[5], f[6]} {
			p.depends = append(p.depends, parseRelations(list)...)
		}
		db.byName[p.name] = p
		for _, alt := range parseRelations(f[7]) {
			db.providers[alt[0]] = append(db.providers[alt[0]], p)
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("package list: %w", err)
	}
	return nil
}

// parseRelations reads a dependency field (Debian Policy, 7.1) down to the
// names: "a (>= 1) | b, c:any" is [[a b] [c]].
func parseRelations(field string) [][]string {
	var out [][]string
	for group := range strings.SplitSeq(field, ",") {
		var alts []string
		for alt := range strings.SplitSeq(group, "|") {
			name, _, _ := strings.Cut(strings.TrimSpace(alt), " ")
			name, _, _ = strings.Cut(name, ":")
			if name != "" {
				alts = append(alts, name)
			}
		}
		if len(alts) > 0 {
			out = append(out, alts)
		}
	}
	return out
}

// closure returns a package and everything it depends on as installed, sorted
// by name. Of alternatives the first installed counts, or its first provider.
// follow says which packages to take; a package that is not taken is not
// looked into either.
func (db *database) closure(name string, follow func(*Package) bool) []*Package {
	seen := map[string]*Package{}
	queue := []*Package{db.byName[name]}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		if p == nil || seen[p.name] != nil {
			continue
		}
		seen[p.name] = p
		for _, alts := range p.depends {
			if dep := db.installed(alts); dep != nil && follow(dep) {
				queue = append(queue, dep)
			}
		}
	}
	var out []*Package
	for _, p := range seen {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *Package) int { return strings.Compare(a.name, b.name) })
	return out
}

func (db *database) installed(alts []string) *Package {
	for _, name := range alts {
		if p := db.byName[name]; p != nil {
			return p
		}
		if list := db.providers[name]; len(list) > 0 {
			return list[0]
		}
	}
	return nil
}

// files asks dpkg for the paths of the given packages.
func (db *database) files(ctx context.Context, list []*Package) ([]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	args := []string{"-L"}
	for _, p := range list {
		args = append(args, p.id)
	}
	out, err := db.query(ctx, args...)
	if err != nil {
		return nil, err
	}
	var paths []string
	for line := range strings.SplitSeq(string(out), "\n") {
		// Other lines tell of diversions.
		if strings.HasPrefix(line, "/") && line != "/." {
			paths = append(paths, line)
		}
	}
	return paths, nil
}

// owners returns, as name=version, the packages that own any of the paths.
// Paths that no package owns are passed over: dpkg-query reports them through
// its exit status together with what it found.
func (db *database) owners(ctx context.Context, paths []string) ([]string, error) {
	// A package may list /lib/… although /lib is a link to /usr/lib today.
	args := []string{"-S", "--"}
	for _, p := range paths {
		args = append(args, p)
		if rest, ok := strings.CutPrefix(p, "/usr/"); ok {
			args = append(args, "/"+rest)
		}
	}
	if len(args) == 2 {
		return nil, nil
	}
	out, err := db.query(ctx, args...)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return nil, err
	}
	var found []string
	for line := range strings.SplitSeq(string(out), "\n") {
		names, _, ok := strings.Cut(line, ": ")
		if !ok || strings.HasPrefix(line, "diversion ") {
			continue
		}
		for name := range strings.SplitSeq(names, ", ") {
			name, _, _ = strings.Cut(name, ":")
			if p := db.byName[name]; p != nil {
				found = append(found, p.name+"="+p.version)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// runTool runs a program of the host and returns what it printed. The locale
// is fixed because the output is parsed.
func runTool(ctx context.Context, prog string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, prog, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		shown := args[:min(len(args), 4)]
		return out, fmt.Errorf("run %s %s: %w: %.300s", prog, strings.Join(shown, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
