package park

// Still is what is parked and nothing wakes but its time; without a Content it is nothing.
type Still struct{ Content }

// Woken has nothing, ever.
func (s Still) Woken() <-chan struct{} { return nil }

// Bytes is how much memory it takes.
func (s Still) Bytes() uint64 {
	if s.Content == nil {
		return 0
	}
	return s.Content.Bytes()
}

// Squeeze has it take less.
func (s Still) Squeeze() error {
	if s.Content == nil {
		return nil
	}
	return s.Content.Squeeze()
}
