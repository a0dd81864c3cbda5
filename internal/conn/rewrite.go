package conn

import (
	"context"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/resp"
)

// The requests of the handshake with the credentials and the index of another database in them.

// rewriteHello puts the credentials of another database into HELLO <version> [AUTH user password] [SETNAME name].
func rewriteHello(p []byte, as credentials) []byte {
	args, rest, ok := resp.Parse(p)
	if !ok {
		// Not what go-redis writes. Passing it on could hand over another database's credentials.
		return append(resp.Encode("hello"), rest...)
	}
	head, tail := args[:min(2, len(args))], args[min(2, len(args)):]
	if len(tail) >= 3 && strings.EqualFold(tail[0], "auth") {
		tail = tail[3:]
	}
	rewritten := append([]string(nil), head...)
	if as.password != "" || as.username != "" {
		rewritten = append(rewritten, "auth", as.user(), as.password)
	}
	return append(resp.Encode(append(rewritten, tail...)...), rest...)
}

// rewriteAuth puts the credentials of another database into AUTH, in the form that servers without ACLs know if there
// is no user name.
func rewriteAuth(p []byte, as credentials) []byte {
	_, rest, _ := resp.Parse(p)
	if as.username == "" {
		return append(resp.Encode("auth", as.password), rest...)
	}
	return append(resp.Encode("auth", as.username, as.password), rest...)
}

// rewriteSelect puts the index of another database into the SELECT at the head of p.
func rewriteSelect(p []byte, index int) []byte {
	_, rest, ok := resp.Parse(p)
	if !ok {
		return p
	}
	return append(resp.Encode("select", strconv.Itoa(index)), rest...)
}

// credentials are what one connection logs in with. They are resolved when it is dialed and dropped with the handshake.
type credentials struct {
	username, password string
	index              int
}

// none says that the database wants no login.
func (c credentials) none() bool { return c.username == "" && c.password == "" }

// user is the name that HELLO wants in front of a password.
func (c credentials) user() string {
	if c.username == "" {
		return "default"
	}
	return c.username
}

// resolveCredentials asks the sources in go-redis' own order (Options.resolveCredentials).
func resolveCredentials(ctx context.Context, opt *redis.Options) (credentials, error) {
	c := credentials{index: opt.DB}
	var err error
	switch {
	case opt.CredentialsProviderContext != nil:
		c.username, c.password, err = opt.CredentialsProviderContext(ctx)
	case opt.CredentialsProvider != nil:
		c.username, c.password = opt.CredentialsProvider()
	default:
		c.username, c.password = opt.Username, opt.Password
	}
	return c, err
}
