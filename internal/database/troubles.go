package database

// Troubles are the names and causes of all databases that are not usable, as attributes of a log line.
func Troubles(dbs []*Database) (attrs []any) {
	for _, db := range dbs {
		if !db.Health.Usable() {
			attrs = append(attrs, db.Name, db.Locate(db.Health.Trouble()))
		}
	}
	return attrs
}
