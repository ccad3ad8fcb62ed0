package cmdline

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/guest"
	"seuss/images"
	"seuss/images/layer"
	"seuss/images/runtimes"
	"seuss/images/source"
)

// ProgramPath is where a program without a slash in its name is looked for.
const ProgramPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// programMemory is the guest RAM of a program from a source: room for what Go's
// runtime and allocators like it reserve and never touch.
const programMemory = 1 << 30

// FromSource is an image that is built from a source.
type FromSource struct {
	Reference   string
	Name        string // tag that leads to it then; "" = none
	MemoryBytes uint64 // 0 = programMemory
	Env         []string
	User        string // whom it runs as; "" = whom the source names
	Again       bool   // even if there is one
	Options     source.Options
}

// Built is an image that FromSource has led to.
type Built struct {
	Digest string
	Path   string
	Found  bool         // it was there
	Info   *images.Info // nil if it was
}

// SourceFlags are the flags of commands that take a source.
func SourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "insecure-registry", Usage: "registry `HOST[:PORT]` that may be spoken to without TLS, may be repeated"},
		&cli.StringFlag{Name: "max-size", Usage: "`SIZE` that an image's files may have (default: 64GiB)"},
	}
}

// ReadSource makes what the flags say of a source.
func ReadSource(c *cli.Context, reference string) (FromSource, error) {
	b := FromSource{Reference: reference, Options: source.Options{InsecureRegistries: c.StringSlice("insecure-registry")}}
	if text := c.String("max-size"); text != "" {
		n, err := humanize.ParseBytes(text)
		if err != nil || n == 0 || n > source.DefaultMaxBytes {
			return b, Usagef(c.Command.HelpName, "--max-size %q: want a size of at most %s, such as 2GiB", text, humanize.IBytes(source.DefaultMaxBytes))
		}
		b.Options.MaxBytes = int64(n)
	}
	return b, nil
}

// key is all that the image depends on, besides what the source has.
func (b *FromSource) key(found *source.Found) string {
	key := fmt.Sprintf("%s guest=%s memory=%d env=%q", found.Digest, runtimes.Digest(), b.MemoryBytes, b.Env)
	if b.User != "" {
		key += fmt.Sprintf(" user=%q", b.User)
	}
	return key
}

// BuildSource returns the image that a source leads to now: the one that was built from
// the same, or a new one.
func BuildSource(ctx context.Context, e *Env, b FromSource) (*Built, error) {
	if b.MemoryBytes == 0 {
		b.MemoryBytes = programMemory
	}
	b.Options.Progress, b.Options.Layers = e.Progress.Step, layers(e)
	defer e.Progress.Clear()
	found, err := source.Find(ctx, b.Reference, b.Options)
	if err != nil {
		return nil, err
	}
	key := b.key(found)
	built := &Built{Found: true}
	var origin images.Origin
	if !b.Again {
		built.Path, origin, err = e.Images().FindOrigin(key)
		if err != nil && !errors.Is(err, images.ErrNotFound) {
			return nil, err
		}
	}
	if origin.Image == "" {
		if built, err = buildFound(ctx, e, &b, found, key); err != nil {
			return nil, err
		}
	} else {
		built.Digest = origin.Image
	}
	if origin.Reference != b.Reference { // another name of the same
		if err := e.Images().SetOrigin(images.Origin{Key: key, Reference: b.Reference, Digest: found.Digest, Image: built.Digest, Built: time.Now()}); err != nil {
			return nil, err
		}
	}
	if b.Name != "" {
		if err := e.Images().Tag(built.Digest, b.Name); err != nil {
			return nil, err
		}
	}
	if !built.Found {
		tidy(ctx, e, b.Reference, built.Digest)
	}
	return built, nil
}

func buildFound(ctx context.Context, e *Env, b *FromSource, found *source.Found, key string) (_ *Built, err error) {
	tree, config, err := found.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	spec := tree.Spec(config)
	scheme, _, _ := strings.Cut(b.Reference, ":")
	if spec.Name = found.Name; spec.Name == "" {
		spec.Name = scheme
	}
	spec.Kernel, spec.MemoryBytes, spec.Env, spec.User = guest.Kernel(), b.MemoryBytes, images.MergeEnv(spec.Env, b.Env), b.User
	notes, err := runtimes.Equip(&spec)
	if err != nil {
		return nil, err
	}
	for _, note := range notes {
		e.Notef("%s: %s", b.Reference, note)
	}
	if tree.Skipped > 0 {
		e.Notef("%s: left out %d devices, sockets and FIFOs", b.Reference, tree.Skipped)
	}
	info, err := e.Images().Add(ctx, spec, images.AddOptions{Progress: e.buildProgress, NoTag: true, Layered: len(spec.Layers) == 0})
	if err != nil {
		return nil, err
	}
	built := &Built{Digest: info.Digest.String(), Info: &info}
	built.Path, err = e.Images().Find(built.Digest)
	return built, err
}

// layers is the store of what images are made of.
func layers(e *Env) layer.Store {
	return layer.Store{Dir: path.Join(e.Images().Dir, layer.DirName)}
}

// ProgramPaths are where a program may lie: a name without a slash is looked up as a
// shell would, in the directories of PATH.
func ProgramPaths(name, dirs string) []string {
	if strings.Contains(name, "/") {
		return []string{path.Join("/", name)}
	}
	var paths []string
	for dir := range strings.SplitSeq(dirs, ":") {
		if strings.HasPrefix(dir, "/") {
			paths = append(paths, path.Join(dir, name))
		}
	}
	return paths
}
