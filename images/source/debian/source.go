package debian

import (
	"context"
	"slices"
	"strings"

	"seuss/images/source"
)

func init() {
	source.Register(&source.Source{Scheme: "debian", Usage: "[PACKAGE,...]", Find: find})
}

// find collects the files of packages and of what they depend on, with what every
// program expects around it.
func find(ctx context.Context, ref string, o source.Options) (*source.Found, error) {
	o.Tell("collecting packages", -1)
	c, err := Open(ctx, o.Root, programEnv)
	if err != nil {
		return nil, err
	}
	names := slices.Concat(slices.Collect(strings.FieldsFuncSeq(ref, func(r rune) bool { return r == ',' || r == ' ' })), o.Packages)
	used, err := c.AddPackages(ctx, names)
	if err != nil {
		return nil, err
	}
	if err := c.AddBase(); err != nil {
		return nil, err
	}
	if err := c.Follow(ctx, ""); err != nil {
		return nil, err
	}
	packages, err := c.Packages(ctx, used, nil)
	if err != nil {
		return nil, err
	}
	tree := &source.Tree{Files: c.Files(), Packages: packages}
	if tree.Digest, err = source.DigestFiles(tree.Files, o.Index("debian:"+ref+" in "+o.Root)); err != nil {
		return nil, err
	}
	return &source.Found{Name: "debian", Digest: tree.Digest, Open: func(context.Context) (*source.Tree, source.Config, error) {
		return tree, source.Config{Env: programEnv}, nil
	}}, nil
}
