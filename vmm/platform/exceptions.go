package platform

// Exception is a group of system calls that a platform makes, and nothing else of a
// monitor does. A filter over the whole process has to let it.
type Exception struct {
	Why     string
	Calls   []string  // by the kernel's names
	Checked []Checked // those that are made with some arguments only
}

// Checked is a system call one of whose arguments is looked at.
type Checked struct {
	Call     string
	Argument uint32 // from 0
	// Equal: it is Value; else it has none of Value's bits.
	Equal bool
	Value uint64
}
