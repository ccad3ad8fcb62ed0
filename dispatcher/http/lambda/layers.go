package lambda

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"seuss/dispatcher/bundle"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/layers"
)

// publishedLayers are the operations on layers. A layer is its owner's alone; a token that
// reaches only some functions reaches the layers of the same names.
type publishedLayers struct{ *door }

const layersPath = "/2018-10-31/layers"

func (s publishedLayers) routes() map[string]handler {
	return map[string]handler{
		"GET " + layersPath:                                        s.list, // GetLayerVersionByArn, too
		"POST " + layersPath + "/{layer}/versions":                 s.publish,
		"GET " + layersPath + "/{layer}/versions":                  s.versions,
		"GET " + layersPath + "/{layer}/versions/{number}":         s.get,
		"DELETE " + layersPath + "/{layer}/versions/{number}":      s.remove,
		"GET " + layersPath + "/{layer}/versions/{number}/content": s.content,
	}
}

var layerPattern = regexp.MustCompile(`^(?:arn:aws[a-zA-Z-]*:lambda:([a-z0-9-]+):([0-9]{12}):layer:)?([a-zA-Z0-9-_]{1,140})(?::([0-9]{1,18}))?$`)

// layerARN is that of a layer, or of a version if number is not 0.
func (s publishedLayers) layerARN(owner, name string, number uint64) string {
	arn := strings.Replace(s.ARN(functions.Key(owner, name), ""), ":function:", ":layer:", 1)
	if number != 0 {
		arn += ":" + strconv.FormatUint(number, 10)
	}
	return arn
}

// parseLayer reads what names a layer of the caller's, and its version, 0 if there is none.
func (s publishedLayers) parseLayer(r *http.Request, text string) (owner, name string, number uint64, err error) {
	m := layerPattern.FindStringSubmatch(text)
	if m == nil {
		return "", "", 0, server.Validation("layerName", text, layerPattern.String())
	}
	p := server.PrincipalOf(r)
	owner, name = p.Owner, m[3]
	if own := strings.Split(s.layerARN(owner, name, 0), ":"); m[1] != "" && (m[1] != own[3] || m[2] != own[4]) {
		return "", "", 0, server.InvalidParameter("Layer %s is not of this region and account, %s: %s.", text, own[4], ownLayers)
	}
	if m[4] != "" {
		if number, err = strconv.ParseUint(m[4], 10, 63); err != nil || number == 0 {
			return "", "", 0, server.Validation("layerVersion", m[4], "Member must be greater than 0")
		}
	}
	if !p.Reaches(functions.Key(owner, name)) {
		err = noLayer(text)
	}
	return owner, name, number, err
}

func noLayer(text string) error {
	return &server.Refusal{Status: http.StatusNotFound, Code: "ResourceNotFoundException", Message: "The resource you requested does not exist: " + text + "."}
}

// version finds the version that a request's path names.
func (s publishedLayers) version(r *http.Request) (layers.Version, error) {
	return s.versionOf(r, r.PathValue("layer")+":"+r.PathValue("number"))
}

func (s publishedLayers) versionOf(r *http.Request, text string) (layers.Version, error) {
	owner, name, number, err := s.parseLayer(r, text)
	if err == nil && number == 0 {
		err = server.Validation("layerVersionArn", text, "a layer's ARN with the number of a version")
	}
	if err != nil {
		return layers.Version{}, err
	}
	v, err := s.Service.Layers().Get(owner, name, number)
	if err != nil {
		return v, server.Answer(err, s.layerARN(owner, name, number))
	}
	return v, nil
}

type layerContent struct {
	Location   string
	CodeSha256 string
	CodeSize   int64
}

// layerVersion is Lambda's LayerVersionsListItem, with what GetLayerVersion says besides.
type layerVersion struct {
	LayerArn                string `json:",omitempty"`
	LayerVersionArn         string
	Version                 uint64
	Description             string
	CreatedDate             string
	CompatibleRuntimes      []string
	CompatibleArchitectures []string
	LicenseInfo             string
	Content                 *layerContent `json:",omitempty"`
}

// describe describes a version; whole is for an answer about it alone.
func (s publishedLayers) describe(r *http.Request, v layers.Version, whole bool) layerVersion {
	d := layerVersion{
		LayerVersionArn: s.layerARN(v.Owner, v.Name, v.Number), Version: v.Number, Description: v.Description, LicenseInfo: v.License,
		CreatedDate:        v.Created.Format("2006-01-02T15:04:05.000+0000"),
		CompatibleRuntimes: append([]string{}, v.Runtimes...), CompatibleArchitectures: append([]string{}, v.Architectures...),
	}
	if whole {
		d.LayerArn = s.layerARN(v.Owner, v.Name, 0)
		d.Content = &layerContent{Location: layerLocation(r, v), CodeSha256: base64.StdEncoding.EncodeToString(v.SHA256), CodeSize: v.Bytes}
	}
	return d
}

// layerLocation is where a version's archive is to be had, by whom the caller is.
func layerLocation(r *http.Request, v layers.Version) string {
	host := r.Host
	if host == "" {
		host = "localhost"
	}
	return (&url.URL{Scheme: "http", Host: host, Path: layersPath + "/" + v.Name + "/versions/" + strconv.FormatUint(v.Number, 10) + "/content"}).String()
}

func (s publishedLayers) publish(w http.ResponseWriter, r *http.Request) error {
	var p struct {
		Content struct {
			ZipFile                            []byte
			S3Bucket, S3Key, S3ObjectVersion   string
			S3ObjectStorageMode                string
			S3ObjectStorageModeExpectedVersion string
		}
		Description, LicenseInfo                    string
		CompatibleRuntimes, CompatibleArchitectures []string
	}
	owner, name, number, err := s.parseLayer(r, r.PathValue("layer"))
	if err == nil {
		err = decode(r, maxCodeRequest, "PublishLayerVersion", &p)
	}
	switch c := &p.Content; {
	case err != nil:
		return err
	case number != 0:
		return server.InvalidParameter("LayerName must not have a version: it is given one.")
	case c.S3Bucket+c.S3Key+c.S3ObjectVersion+c.S3ObjectStorageMode+c.S3ObjectStorageModeExpectedVersion != "":
		return server.InvalidParameter("Content from S3 (S3Bucket, S3Key, S3ObjectVersion, S3ObjectStorageMode) is not supported: upload the archive as ZipFile.")
	case len(c.ZipFile) == 0:
		return server.InvalidParameter("Please provide a source for the layer's content: ZipFile.")
	case len(c.ZipFile) > bundle.MaxZipBytes:
		return server.TooLarge(bundle.MaxZipBytes, "layer upload")
	case len(p.Description) > maxDescription:
		return server.InvalidParameter("Description has %d characters, at most %d are allowed.", len(p.Description), maxDescription)
	case len(p.LicenseInfo) > 512:
		return server.InvalidParameter("LicenseInfo has %d characters, at most 512 are allowed.", len(p.LicenseInfo))
	case len(p.CompatibleRuntimes) > 15:
		return server.InvalidParameter("CompatibleRuntimes has %d entries, at most 15 are allowed.", len(p.CompatibleRuntimes))
	case len(p.CompatibleArchitectures) > 2:
		return server.InvalidParameter("CompatibleArchitectures has %d entries, at most 2 are allowed.", len(p.CompatibleArchitectures))
	case len(p.CompatibleArchitectures) > 0 && !slices.Contains(p.CompatibleArchitectures, "x86_64"):
		return server.InvalidParameter("CompatibleArchitectures %v are not supported: guests are x86_64.", p.CompatibleArchitectures)
	}
	for _, text := range append(slices.Clone(p.CompatibleRuntimes), p.CompatibleArchitectures...) {
		if text == "" || len(text) > 64 {
			return server.InvalidParameter("CompatibleRuntimes and CompatibleArchitectures have entries of 1 to 64 characters, not %.80q.", text)
		}
	}
	v, err := s.Service.Layers().Publish(layers.Version{
		Owner: owner, Name: name, Description: p.Description, License: p.LicenseInfo, Runtimes: p.CompatibleRuntimes, Architectures: p.CompatibleArchitectures,
	}, p.Content.ZipFile)
	if err != nil {
		return server.Answer(err, s.layerARN(owner, name, 0))
	}
	server.WriteJSON(w, http.StatusCreated, s.describe(r, v, true))
	return nil
}

// wanted leaves of versions those that a request's query asks for.
func wanted(r *http.Request, list []layers.Version) []layers.Version {
	q := r.URL.Query()
	runtime, architecture := q.Get("CompatibleRuntime"), q.Get("CompatibleArchitecture")
	return slices.DeleteFunc(list, func(v layers.Version) bool {
		return runtime != "" && !slices.Contains(v.Runtimes, runtime) || architecture != "" && !slices.Contains(v.Architectures, architecture)
	})
}

func (s publishedLayers) list(w http.ResponseWriter, r *http.Request) error {
	if q := r.URL.Query(); q.Get("find") == "LayerVersion" { // GetLayerVersionByArn
		v, err := s.versionOf(r, q.Get("Arn"))
		if err == nil {
			server.WriteJSON(w, http.StatusOK, s.describe(r, v, true))
		}
		return err
	}
	p := server.PrincipalOf(r)
	all, err := s.Service.Layers().List(p.Owner)
	if err != nil {
		return server.Answer(err, layersPath)
	}
	all = slices.DeleteFunc(wanted(r, all), func(v layers.Version) bool { return !p.Reaches(functions.Key(v.Owner, v.Name)) })
	all = slices.CompactFunc(all, func(a, b layers.Version) bool { return a.Name == b.Name }) // the latest comes first
	part, next, err := page(r, all)
	if err != nil {
		return err
	}
	type layer struct {
		LayerName, LayerArn   string
		LatestMatchingVersion layerVersion
	}
	list := []layer{}
	for _, v := range part {
		list = append(list, layer{v.Name, s.layerARN(v.Owner, v.Name, 0), s.describe(r, v, false)})
	}
	writePage(w, "Layers", list, next)
	return nil
}

func (s publishedLayers) versions(w http.ResponseWriter, r *http.Request) error {
	owner, name, _, err := s.parseLayer(r, r.PathValue("layer"))
	if err != nil {
		return err
	}
	all, err := s.Service.Layers().Versions(owner, name)
	if err != nil {
		return server.Answer(err, s.layerARN(owner, name, 0))
	}
	part, next, err := page(r, wanted(r, all))
	if err != nil {
		return err
	}
	list := []layerVersion{}
	for _, v := range part {
		list = append(list, s.describe(r, v, false))
	}
	writePage(w, "LayerVersions", list, next)
	return nil
}

func (s publishedLayers) get(w http.ResponseWriter, r *http.Request) error {
	v, err := s.version(r)
	if err == nil {
		server.WriteJSON(w, http.StatusOK, s.describe(r, v, true))
	}
	return err
}

func (s publishedLayers) remove(w http.ResponseWriter, r *http.Request) error {
	owner, name, number, err := s.parseLayer(r, r.PathValue("layer")+":"+r.PathValue("number"))
	if err == nil {
		err = s.Service.Layers().Delete(owner, name, number)
	}
	if err != nil {
		return server.Answer(err, s.layerARN(owner, name, number))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// content is what Location of a version leads to.
func (s publishedLayers) content(w http.ResponseWriter, r *http.Request) error {
	v, err := s.version(r)
	if err != nil {
		return err
	}
	b, err := s.Service.Layers().Archive(v)
	if err != nil {
		return server.Answer(err, s.layerARN(v.Owner, v.Name, v.Number))
	}
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // a client that went is nobody's error
	return nil
}

// useLayers notes in a function's settings which layers it asks for, and checks their limits
// beside so many bytes of code.
func (s publishedLayers) useLayers(r *http.Request, arns []string, set *functions.Settings, code int64) error {
	if len(arns) > bundle.MaxLayers {
		return server.InvalidParameter("Layers has %d entries, at most %d are allowed.", len(arns), bundle.MaxLayers)
	}
	list := []functions.LayerUse{}
	for _, arn := range arns {
		v, err := s.versionOf(r, arn)
		if err != nil {
			return server.InvalidParameter("Layers: %s: %v", arn, err)
		}
		if slices.ContainsFunc(list, func(o functions.LayerUse) bool { return o.Name == v.Name }) {
			return server.InvalidParameter("Layers: two versions of the layer %s are not allowed.", v.Name)
		}
		list = append(list, functions.LayerUse{Owner: v.Owner, Name: v.Name, Number: v.Number, Bytes: v.Bytes, Unpacked: v.Unpacked})
	}
	set.Layers = list
	return fitsLayers(set, code)
}

// fitsLayers checks that code and layers are not too large together.
func fitsLayers(set *functions.Settings, code int64) error {
	for _, l := range set.Layers {
		code += l.Unpacked
	}
	if code > bundle.MaxUnpacked {
		return server.InvalidParameter("Function code combined with Layers is %d bytes unzipped, at most %d are allowed.", code, int64(bundle.MaxUnpacked))
	}
	return nil
}

// uses are the versions of a function's layers.
func (s publishedLayers) uses(set *functions.Settings) (list []layers.Version, err error) {
	for _, l := range set.Layers {
		v, err := s.Service.Layers().Get(l.Owner, l.Name, l.Number)
		if err != nil {
			return nil, server.InvalidParameter("Layers: %s was deleted: name the layers anew (%v).", s.layerARN(l.Owner, l.Name, l.Number), err)
		}
		list = append(list, v)
	}
	return list, nil
}

func filesBytes(files map[string][]byte) (n int64) {
	for _, b := range files {
		n += int64(len(b))
	}
	return n
}
