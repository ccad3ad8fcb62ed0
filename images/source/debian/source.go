package debian

import (
	"context"
	"fmt"
	"strings"

	"seuss/images/source"
)

func init() {
	source.Register(&source.Source{Scheme: "debian", Usage: "[PACKAGE,...]", Open: open})
}

// open returns the files of packages and of what they depend on, with what every
// program expects around it.
func open(ctx context.Context, ref string, o source.Options) (*source.Tree, source.Config, error) {
	c, err := Open(ctx, o.Root, programEnv)
	if err != nil {
		return nil, source.Config{}, err
	}
	var used []*Package
	for name := range strings.FieldsFuncSeq(ref, func(r rune) bool { return r == ',' || r == ' ' }) {
		if c.Package(name) == nil {
			return nil, source.Config{}, fmt.Errorf("package %s is not installed; install it with: apt-get install %s", name, name)
		}
		used = append(used, c.db.closure(name, func(*Package) bool { return true })...)
	}
	paths, err := c.PathsOf(ctx, used)
	if err != nil {
		return nil, source.Config{}, err
	}
	for _, p := range paths {
		if strings.HasPrefix(p, "/usr/share/doc/") || strings.HasPrefix(p, "/usr/share/man/") {
			continue
		}
		if err := c.AddOptional(p); err != nil {
			return nil, source.Config{}, err
		}
	}
	if err := c.AddBase(); err != nil {
		return nil, source.Config{}, err
	}
	if err := c.Follow(ctx, ""); err != nil {
		return nil, source.Config{}, err
	}
	packages, err := c.Packages(ctx, used, nil)
	if err != nil {
		return nil, source.Config{}, err
	}
	return &source.Tree{Name: "debian", Files: c.Files(), Packages: packages}, source.Config{Env: programEnv}, nil
}
