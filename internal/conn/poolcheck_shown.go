//go:build !multidb_nopoolcheck

package conn

// poolCheckHidden hides all connections from the check of go-redis' pool. Tests are run with the tag multidb_nopoolcheck as
// well: that is how it is on Windows, and nothing but speed may hang on the check.
const poolCheckHidden = false
