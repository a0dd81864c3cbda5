package pubsubwrap

import (
	"context"
	"time"
)

// refresh is how often the fan-in looks for databases that were added or removed.
const refresh = time.Second

// fanIn keeps a link to every database.
func (s *Subscriber) fanIn() {
	running := make(map[string]context.CancelFunc)
	for {
		have := make(map[string]bool)
		for _, db := range s.hook.Databases() {
			have[db] = true
			if running[db] == nil {
				ctx, cancel := context.WithCancel(s.ctx)
				running[db] = cancel
				s.wg.Go(func() { s.keep(ctx, db) })
			}
		}
		for db, cancel := range running {
			if !have[db] {
				cancel()
				delete(running, db)
			}
		}
		if !s.pause(refresh) {
			for _, cancel := range running {
				cancel()
			}
			return
		}
	}
}

// keep opens a link to one database again and again.
func (s *Subscriber) keep(ctx context.Context, db string) {
	var lost int64
	for failures := 0; ctx.Err() == nil; failures++ {
		l, err := s.newLink(db)
		if err != nil {
			s.pause(maxRetry)
			continue
		}
		opening, cancel := context.WithTimeout(ctx, openTimeout)
		l.gated = true
		err = l.open(opening)
		cancel()
		if err == nil {
			failures = 0
			s.live(ctx, l, lost)
			lost = l.goneSince()
		}
		s.pause(min(maxRetry, minRetry<<min(failures, 10)))
	}
}

// live looks after a link as long as it lives. lost is when the one before ended, 0 if there was none.
func (s *Subscriber) live(ctx context.Context, l *link, lost int64) {
	var notice []Event
	if lost != 0 {
		notice = []Event{{Switched: &Switched{From: l.db, To: l.db, Reason: ReasonConnectionLost, Gap: time.Duration(now() - lost)}}}
	}
	l.promote(notice...)
	s.settleHome(l)
	tick := time.NewTicker(calm)
	defer tick.Stop()
	for {
		select {
		case <-l.done:
			s.settleHome(nil)
			return
		case <-ctx.Done():
			l.kill()
			<-l.done
			return
		case <-tick.C:
			if s.opt.HealthInterval > 0 {
				l.checkHealth(s.opt.HealthInterval)
			}
			s.settleHome(nil)
		}
	}
}

// settleHome lets calls wait for the active database where that is subscribed, and else for any that is. opened is a link
// that has just been opened, or nil.
func (s *Subscriber) settleHome(opened *link) {
	active := s.hook.Choice().Database
	s.mu.Lock()
	home := s.home
	if opened != nil && (home == nil || !home.alive() || opened.db == active) {
		home = opened
	}
	for l := range s.links {
		if l.alive() && l.opened.Load() && (home == nil || !home.alive() || l.db == active && home.db != active) {
			home = l
		}
	}
	moved := home != s.home
	s.home = home
	s.mu.Unlock()
	if moved {
		s.changed()
	}
}
