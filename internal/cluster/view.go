package cluster

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// View is what one node says about its cluster.
type View struct {
	Addr string // where it was asked
	Err  error  // it has not answered; all that follows is unset then
	ID   string // its name in the cluster; empty if it may not say

	OK      bool  // it says that the cluster is up
	Epoch   int64 // the epoch of the cluster
	MyEpoch int64 // the epoch at which it got its slots, or its master got them

	// Slots are resolved. Nil if they were not asked for, or if it may not say.
	Slots []redis.ClusterSlot

	// Limited: it is alive, and its user may not ask for more.
	Limited bool
}

// errNotAsked and errTooLate stand in for an answer.
var (
	errNotAsked = errors.New("not asked")
	errTooLate  = errors.New("no answer in time")
)

// Asker asks nodes. Safe for concurrent use.
type Asker interface {
	// Ask asks the node at an address what it thinks of its cluster, with all slots if full. It returns soon after ctx has
	// ended.
	Ask(ctx context.Context, addr string, full bool) View
}

// Look asks a node through a client of its own. A node whose user may not ask has answered the PING at least, which comes
// first: the round trip is measured by it.
func Look(ctx context.Context, client *redis.Client, addr string, full bool) View {
	v := View{Addr: addr}
	pipe := client.Pipeline()
	ping, info, id := pipe.Ping(ctx), pipe.ClusterInfo(ctx), pipe.ClusterMyID(ctx)
	var slots *redis.ClusterSlotsCmd
	if full {
		slots = pipe.ClusterSlots(ctx)
	}
	_, failed := pipe.Exec(ctx)
	if failed != nil && info.Err() == nil && info.Val() == "" {
		v.Err = failed // a login that was refused leaves the commands of a batch without an error
		return v
	}
	if err := info.Err(); err != nil {
		if !forbidden(err) {
			v.Err = err
			return v
		}
		v.Limited = true
		if err := ping.Err(); err != nil && !forbidden(err) {
			v.Err = err
		}
	}
	v.readInfo(info.Val())
	v.ID = id.Val()
	if slots == nil {
		return v
	}
	if err := slots.Err(); err != nil {
		if !forbidden(err) {
			v.Err = err
		}
		return v
	}
	v.Slots = Resolve(slots.Val(), addr)
	return v
}

// forbidden reports whether a node has answered that it does not let this user ask, which proves it alive. A login that was
// refused does not count.
func forbidden(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) || redis.IsAuthError(err) {
		return false
	}
	text := strings.ToUpper(reply.Error())
	return strings.HasPrefix(text, "NOPERM") || strings.HasPrefix(text, "ERR UNKNOWN COMMAND") ||
		strings.HasPrefix(text, "ERR UNKNOWN SUBCOMMAND")
}

// readInfo reads the answer to CLUSTER INFO.
func (v *View) readInfo(text string) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "cluster_state":
			v.OK = value == "ok"
		case "cluster_current_epoch":
			v.Epoch, _ = strconv.ParseInt(value, 10, 64)
		case "cluster_my_epoch":
			v.MyEpoch, _ = strconv.ParseInt(value, 10, 64)
		}
	}
}

// Survey asks all the nodes at once, and ends when all have answered, when enough says so, or with ctx. enough is asked after
// each answer, and once more after the time soft (0: never); late says that this time is over. Who has not answered by then is
// in the result with an error. spawn runs a function beside; the survey does not wait for it.
func Survey(
	ctx context.Context, asker Asker, addrs []string, full func(addr string) bool, spawn func(func()) bool,
	soft time.Duration, enough func(got map[string]View, late bool) bool,
) map[string]View {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan View, len(addrs))
	for _, addr := range addrs {
		if !spawn(func() { answers <- asker.Ask(ctx, addr, full(addr)) }) {
			answers <- View{Addr: addr, Err: errNotAsked}
		}
	}
	var late bool
	var timeout <-chan time.Time
	if soft > 0 {
		timer := time.NewTimer(soft)
		defer timer.Stop()
		timeout = timer.C
	}
	got := make(map[string]View, len(addrs))
	for len(got) < len(addrs) {
		select {
		case v := <-answers:
			got[v.Addr] = v
		case <-timeout:
			late, timeout = true, nil
		case <-ctx.Done():
			return complete(got, addrs)
		}
		if enough != nil && enough(got, late) {
			return complete(got, addrs)
		}
	}
	return got
}

// complete adds those that have not answered.
func complete(got map[string]View, addrs []string) map[string]View {
	for _, addr := range addrs {
		if _, ok := got[addr]; !ok {
			got[addr] = View{Addr: addr, Err: errTooLate}
		}
	}
	return got
}
