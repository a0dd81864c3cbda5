package prober

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/redishook/multidb/internal/goredis"
)

// The options of the clients that ask: those of the user, with everything taken out that would let a probe wait, retry or linger.
// One probe is one question, bounded by its context.

// poolSize has room for the probes of a suspicion beside a round of checks, and for those of before: a dial that hangs keeps
// its place for DialTimeout after its probe is over.
const poolSize = 64

// checkerIdle is how many connections are kept for the checks of a user from one round to the next.
const checkerIdle = 4

// poolWait is how long a check waits for a connection when all are taken by other checks. It has no verdict then.
const poolWait = 250 * time.Millisecond

// Options makes the options of a probing client of a user's. What the user has is not changed.
func Options(user *redis.Options) *redis.Options {
	opt := *user
	opt.MaxRetries, opt.DialerRetries = -1, 1
	opt.ContextTimeoutEnabled = true
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout = 5*time.Second, 10*time.Second, 5*time.Second
	opt.PoolSize, opt.MinIdleConns, opt.MaxIdleConns, opt.MaxActiveConns = poolSize, 0, 1, 0
	opt.PipelinePoolSize, opt.MaxConcurrentDials, opt.PoolTimeout = -1, 0, 0
	opt.ConnMaxIdleTime, opt.ConnMaxLifetime = -1, -1
	opt.Limiter, opt.OnConnect, opt.ClientSideCache = nil, nil, nil
	opt.ClientSideCacheConfig = nil
	opt.MaintNotificationsConfig = maintenanceOff()
	opt.DisableIdentity = true
	opt.TLSConfig = opt.TLSConfig.Clone() // go-redis keeps the caller's
	opt.Dialer = goredis.TLSDialer(opt.Dialer, opt.TLSConfig)
	opt.CredentialsProviderContext = markProvider(opt.CredentialsProviderContext)
	return &opt
}

// FailoverOptions is Options for a group that Sentinel watches.
func FailoverOptions(user *redis.FailoverOptions) *redis.FailoverOptions {
	opt := *user
	opt.MaxRetries, opt.DialerRetries = -1, 1
	opt.ContextTimeoutEnabled = true
	opt.PoolSize, opt.MinIdleConns, opt.MaxIdleConns, opt.PipelinePoolSize = poolSize, 0, 1, -1
	opt.ConnMaxIdleTime, opt.ConnMaxLifetime, opt.PoolTimeout = -1, -1, 0
	opt.CredentialsProviderContext = markProvider(opt.CredentialsProviderContext)
	opt.TLSConfig = opt.TLSConfig.Clone() // go-redis keeps the caller's
	opt.Dialer = goredis.TLSDialer(opt.Dialer, opt.TLSConfig)
	return &opt
}

// NodeOptions is Options for a single node of a cluster, at the first seed.
func NodeOptions(user *redis.ClusterOptions) *redis.Options {
	return Options(&redis.Options{
		Addr: user.Addrs[0], Dialer: user.Dialer, Protocol: user.Protocol, TLSConfig: user.TLSConfig,
		Username: user.Username, Password: user.Password,
		CredentialsProvider: user.CredentialsProvider, CredentialsProviderContext: user.CredentialsProviderContext,
		IdentitySuffix: user.IdentitySuffix, DisableIdentity: user.DisableIdentity, ClientName: user.ClientName,
	})
}

// checkerOptions are those of the client for checks of the user's, which has nothing to do with quick probes: these need a
// connection that nobody else can take.
func checkerOptions(probing *redis.Options) *redis.Options {
	opt := Options(probing)
	opt.MaxIdleConns, opt.PoolTimeout = checkerIdle, poolWait
	return opt
}

// wholeOptions are checkerOptions for a client of the whole cluster.
func wholeOptions(seeds []string, node *redis.Options) *redis.ClusterOptions {
	checker := checkerOptions(node)
	return &redis.ClusterOptions{
		Addrs: seeds, Dialer: checker.Dialer, Protocol: checker.Protocol, TLSConfig: checker.TLSConfig,
		Username: checker.Username, Password: checker.Password,
		CredentialsProvider: checker.CredentialsProvider, CredentialsProviderContext: checker.CredentialsProviderContext,
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, DialTimeout: checker.DialTimeout,
		ReadTimeout: checker.ReadTimeout, WriteTimeout: checker.WriteTimeout, PoolSize: checker.PoolSize,
		MaxIdleConns: checker.MaxIdleConns, PoolTimeout: checker.PoolTimeout, DisableIdentity: true,
		MaintNotificationsConfig: maintenanceOff(),
	}
}

// onceOptions are those of a client that is used for one question.
func onceOptions(probing *redis.Options) *redis.Options {
	opt := Options(probing)
	opt.PoolSize = 1
	return opt
}

// maintenanceOff switches go-redis' maintenance notifications off: a probing client has no use for them.
func maintenanceOff() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// markProvider marks the error of a credentials provider as one that was met before a connection could be used.
func markProvider(own func(context.Context) (string, string, error)) func(context.Context) (string, string, error) {
	if own == nil {
		return nil
	}
	return func(ctx context.Context) (string, string, error) {
		user, password, err := own(ctx)
		if err != nil && !errors.As(err, new(dialError)) {
			err = dialError{err}
		}
		return user, password, err
	}
}
