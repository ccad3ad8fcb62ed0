package runtimes

// Packages says how the packages that an image has installed are looked into, so that
// import nodes can be planned for a runtime. List and Import give functions, whose files
// these are and whose handler is Handler, that are run in fresh instances of an image's
// base: what they tell comes from the image alone.
type Packages struct {
	Handler string
	// List is a function that answers any event with the packages, as a list of Installed.
	List func() map[string][]byte
	// Import is a function whose load imports modules, and whose answer is an Imported.
	Import func(modules []string) map[string][]byte
	// Asks returns the modules that a function's files ask for, with their dots: what is
	// imported anywhere in the text. It runs nothing.
	Asks func(files map[string][]byte) []string
	// Own returns the top-level modules that the files bring themselves.
	Own func(files map[string][]byte) []string
}

// Installed is a package of an image.
type Installed struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Modules []string `json:"modules"` // top-level ones
}

// Imported is what importing modules has come to.
type Imported struct {
	Modules []string `json:"modules"` // of those that were asked for, what could be imported
	Tops    []string `json:"tops"`    // top-level modules that are there now and were not before
	Why     string   `json:"why"`     // what was wrong with the first of the others
}
