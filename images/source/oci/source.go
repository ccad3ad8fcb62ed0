package oci

import (
	"context"
	"errors"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"seuss/images"
	"seuss/images/source"
)

func init() {
	source.Register(&source.Source{Scheme: "docker", Usage: "//HOST/REPO[:TAG][@DIGEST]", Find: findRegistry})
	source.Register(&source.Source{Scheme: "oci", Usage: "DIR[:TAG]", Find: findIn(openDir, readLayout)})
	source.Register(&source.Source{Scheme: "oci-archive", Usage: "FILE[:TAG]", Find: findIn(openArchive, readLayout)})
	source.Register(&source.Source{Scheme: "docker-archive", Usage: "FILE[:TAG]", Find: findIn(openArchive, readSaved)})
}

func findRegistry(ctx context.Context, ref string, o source.Options) (*source.Found, error) {
	parsed, err := parseReference(ref, o.InsecureRegistries)
	if err != nil {
		return nil, err
	}
	o.Tell("asking "+parsed.Context().RegistryStr(), -1)
	r, err := openRegistry(ctx, parsed, o.InsecureRegistries)
	if err != nil {
		return nil, err
	}
	digest, err := r.head()
	if err != nil {
		return nil, err
	}
	return &source.Found{Name: imageName(parsed), Digest: digest.String(), Open: func(ctx context.Context) (*source.Tree, source.Config, error) {
		at := *r
		at.ctx = ctx
		img, err := read(&at, v1.Descriptor{Digest: digest})
		if err != nil {
			return nil, source.Config{}, err
		}
		return img.open(ctx, o, func() error { return nil })
	}}, nil
}

// imageName is the last part of a repository's name and the tag, as in tools-3.
func imageName(ref name.Reference) string {
	base := path.Base(ref.Context().RepositoryStr())
	if tag, ok := ref.(name.Tag); ok && tag.TagStr() != name.DefaultTag {
		base += "-" + tag.TagStr()
	}
	return suits(base)
}

// suits returns a name if images can have it, else "".
func suits(name string) string {
	if images.CheckName(name) != nil {
		return ""
	}
	return name
}

// findIn finds images in files.
func findIn(open func(string) (blobs, error), read func(b blobs, tag string) (*image, error)) func(context.Context, string, source.Options) (*source.Found, error) {
	return func(_ context.Context, ref string, o source.Options) (_ *source.Found, err error) {
		file, tag := splitTag(ref)
		b, err := open(file)
		if err != nil {
			return nil, err
		}
		img, err := read(b, tag)
		if err = errors.Join(err, b.Close()); err != nil {
			return nil, err
		}
		base, _, _ := strings.Cut(filepath.Base(file), ".")
		return &source.Found{Name: suits(base), Digest: img.digest.String(), Open: func(ctx context.Context) (*source.Tree, source.Config, error) {
			b, err := open(file)
			if err != nil {
				return nil, source.Config{}, err
			}
			again, err := read(b, tag)
			if err == nil && again.digest != img.digest {
				err = errors.New("it changed while it was read")
			}
			if err != nil {
				return nil, source.Config{}, errors.Join(err, b.Close())
			}
			return again.open(ctx, o, b.Close)
		}}, nil
	}
}
