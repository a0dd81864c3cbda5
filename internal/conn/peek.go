package conn

// nothingThere is a socket with nothing to read and no error, as far as a peek can tell.
type nothingThere struct{}

func (nothingThere) Control(func(uintptr)) error    { return nil }
func (nothingThere) Read(func(uintptr) bool) error  { return nil }
func (nothingThere) Write(func(uintptr) bool) error { return nil }
