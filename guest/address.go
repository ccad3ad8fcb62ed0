package guest

// GPA is a guest-physical address in bytes. It is a type of its own so that a
// guest address cannot be used as an offset or a host address by mistake.
type GPA uint64
