package api

// Measure is one thing that confines the daemon, so that whoever takes it over gains
// little: the user that it runs as, what it may do with files, which system calls.
type Measure struct {
	Name    string `json:"name"`
	InForce bool   `json:"in_force"`      // as far as the daemon has tried
	Detail  string `json:"detail"`        // how far it goes; where it is not in force, why
	Fix     string `json:"fix,omitempty"` // what to do about it, where it is not in force
}
