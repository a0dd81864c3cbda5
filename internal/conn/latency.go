package conn

import "time"

// asks notes when a request was written that nothing is outstanding before: the reply to the first of several is the one
// that is timed. One that may wait for something else than the database, and is slow by nature, is not timed.
func (c *Conn) asks(class Class) {
	if class&Blocks != 0 {
		c.asked.Store(0)
		return
	}
	c.asked.Store(int64(time.Since(c.set.clockStart)))
}

// isAnswered is called when something has been read.
func (c *Conn) isAnswered() {
	if at := c.asked.Swap(0); at > 0 {
		c.set.owner.Replied(time.Since(c.set.clockStart) - time.Duration(at))
	}
}
