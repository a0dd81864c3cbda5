// Package multidbotel tells OpenTelemetry what a [multidb.Hook] does.
//
// [InstrumentMetrics] makes instruments under the names that the MultiDBClient of go-redis v9.24 uses, so that a dashboard for one
// serves for the other. [InstrumentTracing] corrects the spans that redisotel makes: they name the database that has served the
// command (server.address, server.port, db.namespace, multidb.database) and not the address that the client was made with, and
// have an event for each further attempt.
//
// The package uses the API of OpenTelemetry alone. Which SDK and which exporter receive it is up to the program.
package multidbotel

// scope is the instrumentation scope of everything that this package makes.
const scope = "github.com/redishook/multidb/extra/otel"
