package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// summary prints what came of it, once everything has stopped.
func (d *demo) summary(interrupted bool) {
	t := d.line.total
	how := ""
	if interrupted {
		how = ", ended early"
	}
	fmt.Fprintf(d.out, "\nsummary (%.1fs%s)\n", time.Since(d.line.began).Seconds(), how)
	fmt.Fprintf(d.out, "  operations        %s, the slowest %s\n", thousands(t.ops), millis(d.line.max))
	fmt.Fprintf(d.out, "  errors            %s\n", thousands(t.errors))
	fmt.Fprintf(d.out, "  unknown outcomes  %s   sent and not answered, and running them twice would not be harmless\n", thousands(t.unknown))
	if t.refused > 0 {
		fmt.Fprintf(d.out, "  no database       %s   refused at once, nothing was sent\n", thousands(t.refused))
	}
	fmt.Fprintf(d.out, "  run again         %s   sent and not answered, and harmless to run twice\n", thousands(d.replayed()))
	fmt.Fprintf(d.out, "  switches          %d   the time is from the first evidence against the old database to the use of the new one\n",
		len(d.switches))
	for _, s := range d.switches {
		e := d.line.around(s)
		fmt.Fprintf(d.out, "   %s  %s; errors around it: %d\n", d.line.stamp(s.at), s, e.errors)
	}
	d.audit(t)
}

func (d *demo) replayed() int {
	n := uint64(0)
	for _, db := range d.hook.Stats().Databases {
		n += db.Replayed
	}
	return int(n)
}

// audit compares the increments that were confirmed with the counters, if the servers are ours: nothing else writes
// there, and they do not replicate. It removes the counter everywhere; the other keys expire.
func (d *demo) audit(t tally) {
	own := d.fleet.members[0].server != nil
	if own {
		d.mend()
		d.drop()
	}
	sum, known := 0, true
	for _, m := range d.fleet.members {
		n, err := d.takeCounter(m)
		sum += n
		known = known && err == nil
	}
	switch {
	case !own:
		fmt.Fprintf(d.out, "  increments        %s confirmed\n", thousands(t.incr))
	case !known:
		fmt.Fprintf(d.out, "  increments        %s confirmed; the counters could not be read\n", thousands(t.incr))
	default:
		verdict := "nothing lost, nothing doubled"
		if sum < t.incr {
			verdict = "LOST"
			if d.cfg.cluster {
				verdict += ", or a master died before its replica had them: Redis replicates later than it answers"
			}
		} else if sum > t.incr+t.incrLost {
			verdict = "DOUBLED"
		}
		fmt.Fprintf(d.out, "  increments        %s confirmed, %d unknown; the databases counted %s: %s\n",
			thousands(t.incr), t.incrLost, thousands(sum), verdict)
	}
}

// takeCounter reads and removes the counter of one database, past the hook.
func (d *demo) takeCounter(m member) (int, error) {
	if m.cluster != nil {
		return d.takeCounters(m)
	}
	opt := *m.opt
	opt.MaxRetries, opt.DialerRetries = -1, 1
	opt.DialTimeout, opt.ReadTimeout = time.Second, time.Second
	rdb := redis.NewClient(&opt)
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	n, err := rdb.Get(ctx, d.load.counter(0)).Int()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err == nil {
		err = rdb.Del(ctx, d.load.counter(0)).Err()
	}
	return n, err
}

// drop empties the notes that mending has made: the timeline is over.
func (d *demo) drop() {
	for len(d.notes) > 0 {
		<-d.notes
	}
}
