package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/testkit/clustertest"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Databases that are clusters (-cluster): first a master of the active one dies, which the cluster settles by itself, then all of
// the cluster.

// clusterServer is a whole cluster as one server of the demo.
type clusterServer struct{ *clustertest.Group }

func (c clusterServer) Addr() string { return c.Addrs()[0] }

// clusterNodeTimeout is how long a cluster waits before it takes a silent master for dead.
const clusterNodeTimeout = time.Second

// clusterMaxWait lets commands wait for a takeover, which lasts about 2.5 s with that.
const clusterMaxWait = 10 * time.Second

// startClusters starts both at once: forming takes its time.
func startClusters(ctx context.Context) (*fleet, error) {
	type started struct {
		group *clustertest.Group
		err   error
	}
	names, replicas := []string{"east", "west"}, []int{1, 0}
	var starting []chan started
	for i := range names {
		done := make(chan started, 1)
		starting = append(starting, done)
		go func() {
			group, err := clustertest.Run(ctx, clustertest.Config{
				Masters: 3, Replicas: replicas[i], NodeTimeout: clusterNodeTimeout,
				Node: redistest.Config{Persist: true, Lines: []string{"appendfsync no"}, Password: password},
			})
			done <- started{group, err}
		}()
	}
	f := &fleet{kind: "two Redis Clusters, started for this: 3 masters each, those of east with a replica"}
	var errs []error
	for i, done := range starting {
		s := <-done
		if s.err != nil {
			errs = append(errs, s.err)
			continue
		}
		f.members = append(f.members, member{
			name: names[i], weight: 1 / float64(i+1), server: clusterServer{s.group},
			opt: &redis.Options{Addr: s.group.Addrs()[0]}, cluster: s.group.Options(),
		})
	}
	if len(errs) > 0 {
		if errors.Is(errs[0], redistest.ErrNotInstalled) {
			errs = append(errs, errors.New("-cluster needs a redis-server on PATH"))
		}
		return nil, errors.Join(append(errs, f.close())...)
	}
	return f, nil
}

// clusterScript is what happens to clusters. The takeover is over when all of the cluster dies.
func (d *demo) clusterScript() []step {
	return []step{
		{d.cfg.duration * 3 / 20, d.killMaster},
		{d.cfg.duration * 9 / 20, d.breakActive},
		{d.cfg.duration * 12 / 20, func(context.Context) { d.mend() }},
	}
}

// killMaster kills the first master of the active cluster, and says when its replica has taken over.
func (d *demo) killMaster(ctx context.Context) {
	m := d.fleet.find(d.hook.Active())
	group, ok := m.server.(clusterServer)
	if !ok || len(group.Nodes) <= group.Masters {
		return
	}
	master, replica := group.Nodes[0], group.ReplicaOf(0)
	d.say("%s: the master %s is KILLED; its commands wait for a replica to take over", m.name, master.Addr())
	d.point("bad", m.name+": a master dies")
	began := time.Now()
	if err := master.Kill(); err != nil {
		d.say("that failed: %v", err)
		return
	}
	d.acts.Go(func() {
		for !replica.IsMaster() {
			if rest(ctx, 20*time.Millisecond); ctx.Err() != nil {
				return
			}
		}
		d.say("%s: %s is master now, after %v", m.name, replica.Addr(), time.Since(began).Round(10*time.Millisecond))
		d.point("good", m.name+": a replica takes over")
	})
}

// introduceScript says what a run with clusters shows.
func (d *demo) introduceScript() {
	steps := d.clusterScript()
	fmt.Fprintf(d.out, "script: at %v a master of the active cluster is killed, at %v all of the cluster, at %v it is back; after %v of\n",
		steps[0].at, steps[1].at, steps[2].at, d.cfg.grace)
	fmt.Fprintf(d.out, "        good health (Failback.GracePeriod, 15s if not set) it is active again\n")
	fmt.Fprintf(d.out, "expect: no switch for the master, a failover for the cluster, and the return\n")
}

// takeCounters is takeCounter for a cluster: the counters of all workers are spread over its nodes.
func (d *demo) takeCounters(m member) (sum int, err error) {
	opt := *m.cluster
	opt.DialTimeout, opt.ReadTimeout = time.Second, time.Second
	rdb := redis.NewClusterClient(&opt)
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for i := range d.cfg.workers {
		n, err := rdb.Get(ctx, d.load.counter(i)).Int()
		if err != nil && !errors.Is(err, redis.Nil) {
			return sum, err
		}
		sum += n
		if err := rdb.Del(ctx, d.load.counter(i)).Err(); err != nil {
			return sum, err
		}
	}
	return sum, nil
}
