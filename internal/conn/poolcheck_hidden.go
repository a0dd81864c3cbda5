//go:build multidb_nopoolcheck

package conn

const poolCheckHidden = true
