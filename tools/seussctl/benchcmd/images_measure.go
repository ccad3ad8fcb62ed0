package benchcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/http/native/client"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/lineage/sealed"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/bench/imagebench"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/samples"
)

// imageWork is what bench images is asked for.
type imageWork struct {
	layout            string
	rounds, functions int
	large             uint64 // bytes
}

// imageBench is a measurement of images. Building, and cold starts, are processes of their
// own, as other people's programs are.
type imageBench struct {
	imageWork
	ctx     context.Context
	e       *cmdline.Env
	self    string
	dir     string
	layouts *imagebench.Layouts
	report  *bench.ImagesReport
}

func measureImages(ctx context.Context, e *cmdline.Env, work imageWork) (report *bench.ImagesReport, err error) {
	e.OwnState("bench")
	if err := os.MkdirAll(e.StateDir, sealed.DirMode); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(e.StateDir, "seuss-bench-images-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	e.StateDir, e.StateGiven = filepath.Join(dir, "state"), true
	b := &imageBench{imageWork: work, ctx: ctx, e: e, self: self, dir: dir, report: &bench.ImagesReport{Skipped: []bench.Skipped{}}}
	for _, step := range []struct {
		what string
		do   func() error
	}{{"making a layout", b.layoutOf}, {"building", b.builds}, {"sharing", b.shared}, {"starting cold", b.cold}, {"deploying", b.each}, {"starting on pooled machines", b.pooled}} {
		e.Progress.Step(step.what, -1)
		if err := step.do(); err != nil {
			return nil, fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return b.report, nil
}

func (b *imageBench) layoutOf() error {
	var files []images.File
	if b.layout == "" {
		spec, err := runtimes.Default().Collect(b.ctx, runtimes.Options{})
		if err != nil {
			return err
		}
		files = spec.Files
	}
	var err error
	if b.layouts, err = imagebench.Make(filepath.Join(b.dir, "layout"), b.layout, files, b.large); err == nil {
		b.report.Files = b.layouts.Files
	}
	return err
}

// seussctl runs this program on a state directory.
func (b *imageBench) seussctl(state string, args ...string) (imagebench.Timed, error) {
	args = append([]string{"--state", state}, args...)
	if p := cmdline.WantedPlatform(b.e); p != "" {
		args = append([]string{"--platform", p}, args...)
	}
	return imagebench.Run(b.ctx, b.self, args...)
}

// builds takes turns between seussctl and the others.
func (b *imageBench) builds() error {
	took, left := map[string][]time.Duration{}, map[string]uint64{}
	note := func(what, dir string, t imagebench.Timed) (err error) {
		took[what] = append(took[what], t.Took)
		left[what], err = imagebench.Disk(dir)
		return err
	}
	order := []string{bench.RowBuild, bench.RowAgain}
	for round := range b.rounds {
		state := filepath.Join(b.dir, fmt.Sprint("build", round))
		for _, what := range []string{bench.RowBuild, bench.RowAgain} {
			t, err := b.seussctl(state, "image", "build", "base", "--from", b.layouts.Source(imagebench.Base))
			if err == nil {
				err = note(what, filepath.Join(state, "images"), t)
			}
			if err != nil {
				return err
			}
		}
		if err := os.RemoveAll(state); err != nil {
			return err
		}
		for _, o := range imagebench.Outside {
			if _, err := exec.LookPath(o.Package); err != nil {
				if round == 0 {
					b.report.Skipped = append(b.report.Skipped, bench.Skipped{Program: o.Package, Lacks: o.Package})
				}
				continue
			}
			if !slices.Contains(order, o.Package) {
				order = append(order, o.Package)
			}
			to := filepath.Join(b.dir, "outside")
			t, err := imagebench.Run(b.ctx, o.Package, o.Args(b.layouts, imagebench.Base, to)...)
			if err == nil {
				err = note(o.Package, to, t)
			}
			if err = errors.Join(err, os.RemoveAll(to)); err != nil {
				return err
			}
		}
	}
	for _, what := range order {
		b.report.Builds = append(b.report.Builds, bench.ImageRow{What: what, Took: float64(bench.Percentile(took[what], 50)) / 1e6, Bytes: left[what]})
	}
	return nil
}

// inImage is a function in an image.
func inImage(name, image string, code []byte) dispatcher.FunctionSpec {
	f := sample(name, code, false, nil)
	f.Image = image
	return f
}

// invokeOnce starts a function, which has to answer.
func (b *imageBench) invokeOnce(d cmdline.Service, name string) error {
	r, err := d.Invoke(b.ctx, dispatcher.Request{Function: name, Event: []byte(benchEvent)})
	if err == nil && r.Error != nil {
		err = r.Error
	}
	if err == nil {
		b.report.Platform = r.Platform
	}
	return err
}

// engine runs f with a dispatcher of this process.
func (b *imageBench) engine(f func(d cmdline.Service) error) error {
	return b.e.WithEngine(dispatcher.Options{HugePages: b.e.HugePages}, func(d cmdline.Service) error {
		if _, served := d.(*client.Client); served {
			return cmdline.ErrServed
		}
		return f(d)
	})
}

// shared builds two images with a base in common, and runs a function in each.
func (b *imageBench) shared() error {
	files, before := filepath.Join(b.e.StateDir, "images"), uint64(0)
	for _, tag := range []string{imagebench.Base, imagebench.Above} {
		if _, err := b.seussctl(b.e.StateDir, "image", "build", tag, "--from", b.layouts.Source(tag)); err != nil {
			return err
		}
		disk, err := imagebench.Disk(files)
		if err != nil {
			return err
		}
		b.report.Shared = append(b.report.Shared, bench.SharedRow{Image: tag, Disk: disk - before})
		before = disk
	}
	if err := bench.ForgetFiles(b.e.StateDir, "images", "images/layers"); err != nil {
		return err
	}
	return b.engine(func(d cmdline.Service) error {
		cached, err := bench.CachedBytes(files)
		if err != nil {
			return err
		}
		memory, err := bench.ReadHostMemory()
		if err != nil {
			return err
		}
		for i := range b.report.Shared {
			row := &b.report.Shared[i]
			if _, err := d.Deploy(b.ctx, inImage(row.Image, row.Image, samples.Greet)); err != nil {
				return err
			}
			if err := b.invokeOnce(d, row.Image); err != nil {
				return err
			}
			now, err := bench.CachedBytes(files)
			if err != nil {
				return err
			}
			then, err := bench.ReadHostMemory()
			if err != nil {
				return err
			}
			row.Cache, row.Memory = now-min(now, cached), then.Total()-min(then.Total(), memory.Total())
			cached, memory = now, then
		}
		return nil
	})
}

// cold starts a function in the image, and in one with much data more.
func (b *imageBench) cold() error {
	if _, err := b.seussctl(b.e.StateDir, "image", "build", imagebench.Large, "--from", b.layouts.Source(imagebench.Large)); err != nil {
		return err
	}
	roots := []struct{ way, image string }{{bench.RowSmall, imagebench.Base}, {bench.RowLarge, imagebench.Large}}
	err := b.engine(func(d cmdline.Service) error {
		for _, r := range roots {
			if _, err := d.Deploy(b.ctx, inImage("cold-"+r.image, r.image, samples.JSONHash)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	took := make([]bench.ColdSamples, len(roots))
	for range b.rounds * 3 {
		for i, r := range roots {
			if err := bench.ForgetFiles(b.e.StateDir, "images", "images/layers", "nodes"); err != nil {
				return err
			}
			t, err := b.seussctl(b.e.StateDir, "invoke", "cold-"+r.image, "--event", `{"text": "a cold start", "top": 1}`)
			if err != nil {
				return err
			}
			took[i].Add(t.Took, 0, t.Read, 0)
		}
	}
	for i, r := range roots {
		b.report.Cold = append(b.report.Cold, took[i].Row("json", r.way, 0))
	}
	return nil
}

// eachImports is what the functions of each import.
var eachImports = []string{"decimal", "email.message", "json", "urllib.parse"}

// each deploys functions of different code that import the same: by themselves, and above a
// node that has it imported.
func (b *imageBench) each() error {
	return b.engine(func(d cmdline.Service) error {
		for _, way := range []struct {
			name    string
			imports []string
		}{{"importing it themselves", nil}, {"above its import node", eachImports}} {
			cost, err := b.eachOf(d, way.name, way.imports)
			if err != nil {
				return err
			}
			b.report.Each = append(b.report.Each, cost)
		}
		return nil
	})
}

func (b *imageBench) eachOf(d cmdline.Service, way string, imports []string) (cost bench.FunctionCost, err error) {
	nodes := filepath.Join(b.e.StateDir, "nodes")
	deploy := func(i int) error {
		code := fmt.Appendf(nil, "import %s\nNUMBER = %d\ndef handler(event, context):\n    return json.dumps([NUMBER, str(decimal.Decimal(NUMBER) / 7)])\n", strings.Join(eachImports, ", "), i)
		f := inImage(fmt.Sprint("each-", len(imports), "-", i), imagebench.Base, code)
		f.Imports = imports
		_, err := d.Deploy(b.ctx, f)
		return err
	}
	figures := func() (disk uint64, memory bench.HostMemory, err error) {
		if disk, err = imagebench.Disk(nodes); err == nil {
			memory, err = bench.ReadHostMemory()
		}
		return disk, memory, err
	}
	if err := errors.Join(deploy(0), b.invokeOnce(d, fmt.Sprint("each-", len(imports), "-", 0))); err != nil {
		return cost, err
	}
	disk, memory, err := figures()
	if err != nil {
		return cost, err
	}
	start := time.Now()
	for i := range b.functions {
		b.e.Progress.Step("deploying functions "+way, float64(i)/float64(b.functions))
		if err := deploy(i + 1); err != nil {
			return cost, err
		}
	}
	took := time.Since(start)
	now, then, err := figures()
	n := float64(b.functions)
	return bench.FunctionCost{Way: way, Functions: b.functions, Disk: (float64(now) - float64(disk)) / n,
		Memory: (float64(then.Total()) - float64(memory.Total())) / n, Deploy: float64(took) / 1e6 / n}, err
}

// pooled starts the same function in an image of layers and in one that is a single file.
func (b *imageBench) pooled() error {
	for name, layered := range map[string]bool{bench.RowLayered: true, bench.RowFlat: false} {
		if _, err := runtimes.Default().Build(b.ctx, b.e.Images(), runtimes.Options{Name: name}, images.AddOptions{Layered: layered}); err != nil {
			return err
		}
	}
	return b.engine(func(d cmdline.Service) error {
		var paths []bench.Path
		for _, name := range []string{bench.RowLayered, bench.RowFlat} {
			if _, err := d.Deploy(b.ctx, inImage("pooled-"+name, name, samples.Greet)); err != nil {
				return err
			}
			paths = append(paths, bench.Path{Name: name, PerRound: 100, Run: func(context.Context, func()) error { return b.invokeOnce(d, "pooled-"+name) }})
		}
		var err error
		b.report.Pooled, err = bench.Measure(b.ctx, paths, b.rounds, func(f float64) { b.e.Progress.Step("starting on pooled machines", f) })
		return err
	})
}
