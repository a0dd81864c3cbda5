package reply

// The table. HAProxy has no row: it forwards TCP and closes the connection of a client whose server it has lost, so what it
// says is a lost connection. See the tcp mode in its configuration manual.

// table lists the replies, each with what it begins with. The longer text of two stands first.
var table = []Row{
	// Redis, Valkey, KeyDB.
	{Code: "LOADING", Text: "LOADING ", Meaning: Refused, Source: "redis/src/server.c: shared.loadingerr, by processCommand"},
	{Code: "READONLY", Text: "READONLY ", Meaning: Refused, Scope: Writes, Source: "redis/src/server.c: shared.roslaveerr, by processCommand"},
	{Code: "MASTERDOWN", Text: "MASTERDOWN ", Meaning: Refused, Source: "redis/src/server.c: shared.masterdownerr, by processCommand"},
	{Code: "CLUSTERDOWN", Text: "CLUSTERDOWN Hash slot", Meaning: Refused, Scope: Key, Source: "redis/src/cluster.c: clusterRedirectClient, CLUSTER_REDIR_DOWN_UNBOUND"},
	{Code: "CLUSTERDOWN", Text: "CLUSTERDOWN The cluster is down and only accepts read commands", Meaning: Refused, Scope: Writes, Source: "redis/src/cluster.c: clusterRedirectClient, CLUSTER_REDIR_DOWN_RO_STATE"},
	{Code: "CLUSTERDOWN", Text: "CLUSTERDOWN ", Meaning: Refused, Source: "redis/src/cluster.c: clusterRedirectClient, CLUSTER_REDIR_DOWN_STATE"},
	{Code: "TRYAGAIN", Text: "TRYAGAIN ", Meaning: Refused, Scope: Key, Source: "redis/src/cluster.c: clusterRedirectClient, CLUSTER_REDIR_UNSTABLE"},
	{Code: "NOREPLICAS", Text: "NOREPLICAS ", Meaning: Refused, Scope: Writes, Source: "redis/src/server.c: shared.noreplicaserr, by processCommand"},
	{Code: "MISCONF", Text: "MISCONF ", Meaning: Refused, Scope: Writes, Source: "redis/src/server.c: shared.bgsaveerr and writeCommandsGetDiskErrorMessage, by processCommand"},
	// With the space: BUSYGROUP and BUSYKEY are answers.
	{Code: "BUSY", Text: "BUSY ", Meaning: Refused, Source: "redis/src/server.c: shared.slowevalerr, shared.slowscripterr, shared.slowmoduleerr, by processCommand"},
	// The other UNBLOCKED, "client unblocked via CLIENT UNBLOCK", is what somebody has asked for, and so an answer.
	{Code: "UNBLOCKED", Text: "UNBLOCKED force unblock from blocking operation", Meaning: Refused, Scope: Writes, Source: "redis/src/blocked.c: disconnectAllBlockedClients; nothing was popped"},
	{Code: "OOM", Text: "OOM ", Meaning: Refused, Scope: Writes, Stay: true, Source: "redis/src/server.c: shared.oomerr, by processCommand"},
	{Code: "MAXCLIENTS", Text: "max number of clients", Meaning: Refused, Source: "redis/src/networking.c: acceptCommonHandler; also 'max number of clients + cluster connections reached'"},
	{Code: "DENIED", Text: "DENIED Redis is running in protected mode", Meaning: Refused, Source: "redis/src/networking.c: acceptCommonHandler, before anything is read"},
	{Code: "DENIED", Text: "DENIED Running in protected mode", Meaning: Refused, Source: "valkey/src/networking.c: acceptCommonHandler"},

	// Envoy, the filter redis_proxy. Its errors have no code.
	{Code: "PROXY", Text: "no upstream host", Whole: true, Meaning: Refused, Source: "envoy/source/extensions/filters/network/redis_proxy/command_splitter_impl.h: ResponseValues.NoUpstreamHost; no connection pool took the request"},
	{Code: "PROXY", Text: "upstream failure", Whole: true, Meaning: Doubtful, Source: "envoy/source/extensions/filters/network/redis_proxy/command_splitter_impl.h: ResponseValues.UpstreamFailure; the request may have been on its way"},
	{Code: "PROXY", Text: "upstream protocol error", Whole: true, Meaning: Doubtful, Source: "envoy/source/extensions/filters/network/redis_proxy/command_splitter_impl.h: ResponseValues.UpstreamProtocolError"},

	// twemproxy answers with the text of the errno that it met at its server. Only the first of them says that there was no
	// connection: the others come from connections that had stood, or cannot be told apart.
	{Code: "PROXY", Text: "Connection refused", Whole: true, Meaning: Refused, Source: "twemproxy/src/nc_message.c: msg_get_error, strerror(ECONNREFUSED)"},
	{Code: "PROXY", Text: "Connection timed out", Whole: true, Meaning: Doubtful, Source: "twemproxy/src/nc_message.c: msg_get_error, strerror(ETIMEDOUT)"},
	{Code: "PROXY", Text: "Connection reset by peer", Whole: true, Meaning: Doubtful, Source: "twemproxy/src/nc_message.c: msg_get_error, strerror(ECONNRESET)"},
	{Code: "PROXY", Text: "Broken pipe", Whole: true, Meaning: Doubtful, Source: "twemproxy/src/nc_message.c: msg_get_error, strerror(EPIPE)"},
	{Code: "PROXY", Text: "No route to host", Whole: true, Meaning: Doubtful, Source: "twemproxy/src/nc_message.c: msg_get_error, strerror(EHOSTUNREACH)"},
	{Code: "PROXY", Text: "Network is unreachable", Whole: true, Meaning: Doubtful, Source: "twemproxy/src/nc_message.c: msg_get_error, strerror(ENETUNREACH)"},

	// predixy. The spelling is its own.
	{Code: "PROXY", Text: "no server connection avaliable", Whole: true, Meaning: Refused, Source: "predixy/src/Response.cpp: Response::NoServerConnection"},
	{Code: "PROXY", Text: "no server avaliable", Whole: true, Meaning: Refused, Source: "predixy/src/Response.cpp: Response::NoServer"},
	{Code: "PROXY", Text: "server connection close", Whole: true, Meaning: Doubtful, Source: "predixy/src/Response.cpp: Response::ServerConnectionClose"},
	{Code: "PROXY", Text: "deliver request fail", Whole: true, Meaning: Doubtful, Source: "predixy/src/Response.cpp: Response::DeliverRequestFail"},

	// Codis.
	{Code: "PROXY", Text: "handle response, backend conn reset", Whole: true, Meaning: Doubtful, Source: "codis/pkg/proxy/session.go: handleResponse, with backend.go: ErrBackendConnReset"},
	{Code: "PROXY", Text: "handle request, slot is not ready, may be offline", Whole: true, Meaning: Refused, Scope: Key, Source: "codis/pkg/proxy/session.go: handleRequest, with forward.go: ErrSlotIsNotReady"},
	{Code: "PROXY", Text: "handle response, slot is not ready, may be offline", Whole: true, Meaning: Refused, Scope: Key, Source: "codis/pkg/proxy/session.go: handleResponse, with forward.go: ErrSlotIsNotReady"},
}

// quotedReadOnly is the row of a READONLY that a script of Redis 6 has met.
var quotedReadOnly = Row{Code: "READONLY", Text: "-READONLY ", Meaning: Refused, Scope: Writes, Source: "redis 6, src/scripting.c: luaRaiseError with the reply of redis.call"}

// unreadTexts are the beginnings of what the server writes in place of running a request that it has not looked into.
var unreadTexts = []string{
	"LOADING Redis is loading the dataset in memory",
	"LOADING Valkey is loading the dataset in memory",
	"LOADING KeyDB is loading the dataset in memory",
	"MASTERDOWN Link with MASTER is down",
	"BUSY Redis is busy running a script. You can only call",
	"BUSY Valkey is busy running a script. You can only call",
	"BUSY Redis is busy running a module command",
	"BUSY Valkey is busy running a module command",
	"OOM allow-oom flag is not set on the ",
	"max number of clients",
}

// serverTexts are the beginnings of what the server writes by itself where a request runs code: in place of running it, or as
// the error of a command inside.
var serverTexts = append([]string{
	"READONLY You can't write against a read only replica",
	"READONLY Can not run script with write flag on readonly replica",
	"CLUSTERDOWN The cluster is down",
	"CLUSTERDOWN Hash slot not served",
	"TRYAGAIN Multiple keys request during rehashing of slot",
	"NOREPLICAS Not enough good replicas to write",
	"MISCONF Redis is configured to save RDB snapshots",
	"MISCONF Valkey is configured to save RDB snapshots",
	"MISCONF Redis is configured to persist data to AOF",
	"MISCONF Errors writing to the AOF file",
	"OOM command not allowed when used memory",
}, unreadTexts...)
