package benchcmd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/plan"
	"seuss/dispatcher/planner"
	"seuss/images/runtimes"
	"seuss/images/source/debian"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
)

const (
	planImage       = "bench-plan"
	planMemory      = 512 << 20 // of a machine: the largest imports take a third
	planSeconds     = 600       // of a function: on a host that is slow, or has other work, imports of two large packages take longer than by default they may
	leastPackages   = 32
	packagesLabel   = "seuss.bench-packages"
	planProbePrefix = "probe-"
)

// planCandidates are modules and the Debian packages that they are of, by how well they are
// known; what most of them need is among them.
var planCandidates = []struct{ module, debian string }{
	{"numpy", "python3-numpy"}, {"scipy", "python3-scipy"}, {"pandas", "python3-pandas"}, {"matplotlib", "python3-matplotlib"},
	{"sklearn", "python3-sklearn"}, {"requests", "python3-requests"}, {"flask", "python3-flask"}, {"jinja2", "python3-jinja2"},
	{"yaml", "python3-yaml"}, {"lxml", "python3-lxml"}, {"cryptography", "python3-cryptography"}, {"pydantic", "python3-pydantic"},
	{"networkx", "python3-networkx"}, {"sqlalchemy", "python3-sqlalchemy"}, {"django", "python3-django"}, {"bs4", "python3-bs4"},
	{"PIL", "python3-pil"}, {"dateutil", "python3-dateutil"}, {"markdown", "python3-markdown"}, {"docutils", "python3-docutils"},
	{"jsonschema", "python3-jsonschema"}, {"psutil", "python3-psutil"}, {"sympy", "python3-sympy"}, {"simplejson", "python3-simplejson"},
	{"httpx", "python3-httpx"}, {"rich", "python3-rich"}, {"html5lib", "python3-html5lib"}, {"tornado", "python3-tornado"},
	{"msgpack", "python3-msgpack"}, {"aiohttp", "python3-aiohttp"}, {"attr", "python3-attr"}, {"click", "python3-click"},
	{"pygments", "python3-pygments"}, {"pyparsing", "python3-pyparsing"}, {"markupsafe", "python3-markupsafe"}, {"werkzeug", "python3-werkzeug"},
	{"idna", "python3-idna"}, {"charset_normalizer", "python3-charset-normalizer"}, {"six", "python3-six"}, {"toml", "python3-toml"},
	{"xmltodict", "python3-xmltodict"}, {"yarl", "python3-yarl"}, {"multidict", "python3-multidict"}, {"itsdangerous", "python3-itsdangerous"},
	{"jwt", "python3-jwt"}, {"httplib2", "python3-httplib2"}, {"oauthlib", "python3-oauthlib"}, {"waitress", "python3-waitress"},
}

// planPackages are the modules that functions import, with what that brings.
type planPackages struct {
	modules []string
	brings  map[string]plan.Loaded // by module
	tops    map[string][]string    // by NAME==VERSION: the modules that a node imports for it
	leftOut []string
}

// freshPlanImage makes sure that there is an image with the packages that the host has, and
// returns the modules.
func freshPlanImage(ctx context.Context, e *cmdline.Env) (modules []string, err error) {
	host, err := debian.Open(ctx, "", nil)
	if err != nil {
		return nil, err
	}
	var packages, absent []string
	for _, c := range planCandidates {
		if host.Package(c.debian) == nil {
			absent = append(absent, c.debian)
			continue
		}
		modules, packages = append(modules, c.module), append(packages, c.debian)
	}
	if len(modules) < leastPackages {
		return nil, fmt.Errorf("the host has %d of the packages that functions are made of, at least %d are needed; install more with: apt-get install --no-install-recommends %s", len(modules), leastPackages, strings.Join(absent, " "))
	}
	r := runtimes.Default()
	label := strings.Join(packages, " ")
	if c, ok := e.ImageConfig(planImage); ok && r.Current(c) && c.Labels[packagesLabel] == label {
		return modules, nil
	}
	if err := e.CheckPlatform(); err != nil {
		return nil, err
	}
	_, err = e.BuildRuntime(ctx, r, runtimes.Options{Name: planImage, MemoryBytes: planMemory, Packages: packages, Labels: map[string]string{packagesLabel: label}})
	return modules, err
}

// pairSource is a function that imports modules, and does nothing else.
func pairSource(modules []string) []byte {
	return []byte("import " + strings.Join(modules, ", ") + "\n\n\ndef handler(event, context):\n    return 1\n")
}

func pairSpec(name string, modules []string) dispatcher.FunctionSpec {
	spec := sample(name, pairSource(modules), false, nil)
	spec.Image = planImage
	spec.Settings.TimeoutSec = planSeconds
	return spec
}

// probePackages has a function deployed for each module, whose record tells what importing
// it brings and takes.
func probePackages(ctx context.Context, e *cmdline.Env, d cmdline.Service, modules []string) (*planPackages, error) {
	p := &planPackages{brings: map[string]plan.Loaded{}, tops: map[string][]string{}}
	for i, module := range modules {
		e.Progress.Step("importing "+module, float64(i)/float64(len(modules)))
		name := planProbePrefix + module
		if _, err := d.Deploy(ctx, pairSpec(name, []string{module})); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			p.leftOut = append(p.leftOut, fmt.Sprintf("%s: %v", module, err))
			continue
		}
		record, err := d.FunctionImports(ctx, name)
		if err != nil {
			return nil, err
		}
		if err := d.RemoveFunction(ctx, name); err != nil {
			return nil, err
		}
		if record == nil || len(record.Distributions) == 0 {
			p.leftOut = append(p.leftOut, module+": it is of no installed distribution")
			continue
		}
		p.modules = append(p.modules, module)
		p.brings[module] = planner.LoadedOf(functions.BaseName(name), 1, &record.Summary)
		for _, m := range record.Modules {
			if pin := m.Distribution; pin != "" && !strings.Contains(m.Name, ".") && !slices.Contains(p.tops[pin], m.Name) {
				p.tops[pin] = append(p.tops[pin], m.Name)
			}
		}
	}
	if len(p.modules) < leastPackages {
		return nil, fmt.Errorf("%d packages can be imported, at least %d are needed; left out: %s", len(p.modules), leastPackages, strings.Join(p.leftOut, "; "))
	}
	return p, nil
}

// planTrace is a pair of traces.
type planTrace struct {
	train, test *plan.Workload
	deps        plan.Dependencies
	costs       plan.Costs
	functions   [][]string // of the test: the modules of each
}

// trace makes up a pair.
func (p *planPackages) trace(functions int, seed uint64) (*planTrace, error) {
	known := p.loaded(bench.RandomPairs(p.modules, functions, 2*seed))
	h, err := plan.NewHistory(known)
	if err != nil {
		return nil, err
	}
	// Functions of the test may need packages that none of the training does.
	all, err := plan.NewHistory(p.loaded(eachAlone(p.modules)))
	if err != nil {
		return nil, err
	}
	t := &planTrace{deps: h.Dependencies, costs: all.Costs, functions: bench.RandomPairs(p.modules, functions, 2*seed+1)}
	if t.train, err = plan.NewWorkload(h.Calls); err != nil {
		return nil, err
	}
	if h, err = plan.NewHistory(p.loaded(t.functions)); err != nil {
		return nil, err
	}
	t.test, err = plan.NewWorkload(h.Calls)
	return t, err
}

func eachAlone(modules []string) (list [][]string) {
	for _, m := range modules {
		list = append(list, []string{m})
	}
	return list
}

// loaded says what functions would be seen to import.
func (p *planPackages) loaded(list [][]string) (out []plan.Loaded) {
	for i, modules := range list {
		f := plan.Loaded{Name: fmt.Sprintf("f%d", i), Calls: 1}
		has := map[string]bool{}
		for _, m := range modules {
			for _, found := range p.brings[m].Packages {
				if !has[found.Pin] {
					has[found.Pin] = true
					f.Packages = append(f.Packages, found)
				}
			}
		}
		out = append(out, f)
	}
	return out
}
