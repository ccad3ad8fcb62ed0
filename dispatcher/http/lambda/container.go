package lambda

import (
	"slices"
	"strings"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

// What a function's code comes as.
const (
	packageZip   = "Zip"
	packageImage = "Image"
)

// containers makes deployments of container images, which the service knows.
type containers struct{ service api.Hosted }

// imageConfig is what a function has in place of what its container image says.
type imageConfig struct {
	EntryPoint       []string `json:",omitempty"`
	Command          []string `json:",omitempty"`
	WorkingDirectory string   `json:",omitempty"`
}

// noArchive refuses what only a function has that comes as an archive.
func noArchive(r *settingsRequest) error {
	if r.Runtime != nil && *r.Runtime != "" || r.Handler != nil && *r.Handler != "" || r.Layers != nil && len(*r.Layers) > 0 {
		return server.InvalidParameter("Please don't provide Handler or Runtime or Layer when the intent is to create a function using a container image.")
	}
	return nil
}

// fromContainer makes a deployment of a container image.
func (s containers) fromContainer(c *createRequest, spec *dispatcher.FunctionSpec) error {
	if err := noArchive(&c.settingsRequest); err != nil {
		return err
	}
	spec.Settings.Container = &functions.Container{}
	if err := s.newContainer(&c.Code, spec); err != nil {
		return err
	}
	if err := s.configure(&c.settingsRequest, functions.NameOf(spec.Name), spec); err != nil {
		return err
	}
	return s.reconfigure(c.ImageConfig, spec)
}

// configure applies settings.
func (s containers) configure(r *settingsRequest, name string, spec *dispatcher.FunctionSpec) error {
	memory, err := s.service.ImageMemory(spec.Image)
	if err != nil {
		return err
	}
	return r.apply(name, &spec.Settings, &spec.Handler, int(memory>>20))
}

// newContainer takes the image that was built last by a name, for a function that comes of one.
func (s containers) newContainer(code *codeRequest, spec *dispatcher.FunctionSpec) error {
	switch {
	case len(code.ZipFile) > 0 || code.S3Bucket+code.S3Key+code.S3ObjectVersion+code.S3ObjectStorageMode != "":
		return server.InvalidParameter("ZipFile and S3 are for functions of PackageType %s; this one's code is a container image, ImageUri.", packageZip)
	case code.SourceKMSKeyArn != "":
		return server.InvalidParameter("SourceKMSKeyArn is not supported: the image is what it is.")
	case code.ImageUri == "":
		return server.InvalidParameter("Please provide ImageUri when updating a function with packageType Image.")
	}
	own := *spec.Settings.Container
	own.URI = code.ImageUri
	image, err := s.service.ContainerImage(&own)
	if err != nil {
		return invalidImage(&own, err)
	}
	spec.Image = image
	if has := spec.Settings.MemoryMiB; has > defaultMemoryMiB { // which nobody need have asked for
		if err := s.configure(&settingsRequest{MemorySize: &has}, "", spec); err != nil {
			return err
		}
	}
	return s.program(&own, spec)
}

func invalidImage(c *functions.Container, err error) error {
	return server.InvalidParameter("Source image %s is not valid: %v", c.URI, err)
}

// reconfigure has the image's program run otherwise; nil: as before. The image stays the one
// that it is, whatever its name has come to mean.
func (s containers) reconfigure(config *imageConfig, spec *dispatcher.FunctionSpec) error {
	own := *spec.Settings.Container
	if config != nil {
		own.Entrypoint, own.Command, own.WorkingDir = slices.Clone(config.EntryPoint), slices.Clone(config.Command), config.WorkingDirectory
	}
	return s.program(&own, spec)
}

func (s containers) program(c *functions.Container, spec *dispatcher.FunctionSpec) error {
	program, err := s.service.ContainerProgram(spec.Image, c)
	if err != nil {
		return invalidImage(c, err)
	}
	if was := spec.Settings.Program; was != nil { // what else it says of itself stays
		program.Contract, program.Port, program.ReadyPath = was.Contract, was.Port, was.ReadyPath
	}
	// Who asks for SnapStart knows that a snapshot may hold seeded generators.
	program.SharedGenerators = spec.Settings.SnapStart == snapStartVersions
	spec.Handler, spec.Settings.Program, spec.Settings.Container = contracts.HandlerOf(program), program, c
	return nil
}

// resolved is what an image's name meant when it was built.
func resolved(c *functions.Container) string {
	repository, _, _ := strings.Cut(c.URI, "@")
	if at := strings.LastIndexByte(repository, ':'); at > strings.LastIndexByte(repository, '/') {
		repository = repository[:at]
	}
	return repository + "@" + c.Digest
}
