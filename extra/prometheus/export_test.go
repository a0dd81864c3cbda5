package multidbprometheus

// CachedLabels is the number of sets of labels that a collector keeps.
func CachedLabels(c *Collector) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.labels)
}
