package sentinel

import (
	"context"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// What sentinels tell by themselves.

// listen begins to listen to all sentinels, once.
func (g *Group) listen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listening || g.ctx.Err() != nil {
		return
	}
	g.listening = true
	for _, s := range g.sentinels {
		g.cfg.Go(func() { g.listenTo(s) })
	}
}

// listenTo hears one sentinel until all ends. go-redis subscribes again when the connection is lost. What was missed then is asked for.
func (g *Group) listenTo(s *sentinel) {
	sub := s.client.Subscribe(g.ctx, "+switch-master")
	defer sub.Close()
	messages := sub.ChannelWithSubscriptions()
	for {
		select {
		case <-g.ctx.Done():
			return
		case m, ok := <-messages:
			switch m := m.(type) {
			case *redis.Subscription:
				g.catchUp(s)
			case *redis.Message:
				g.heard(m.Payload)
			}
			if !ok {
				return
			}
		}
	}
}

// heard takes "<name> <old ip> <old port> <new ip> <new port>".
func (g *Group) heard(payload string) {
	if parts := strings.Fields(payload); len(parts) == 5 && parts[0] == g.cfg.Options.MasterName {
		g.moved(net.JoinHostPort(parts[3], parts[4]))
	}
}

// catchUp asks a sentinel that is listened to from now on who the master is, and which other sentinels there are.
func (g *Group) catchUp(s *sentinel) {
	ctx, cancel := context.WithTimeout(g.ctx, patience)
	defer cancel()
	if addr, err := g.askOne(ctx, s); err == nil {
		g.mu.Lock()
		dialed := g.dialed
		elsewhere := dialed != "" && dialed != addr && g.lately() == ""
		others := slices.DeleteFunc(slices.Clone(g.sentinels), func(other *sentinel) bool { return other == s })
		g.mu.Unlock()
		if elsewhere && g.mostSay(ctx, others, addr, dialed) {
			g.moved(addr)
		}
	}
	others, err := s.client.Sentinels(ctx, g.cfg.Options.MasterName).Result()
	if err != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, other := range others {
		if g.ctx.Err() != nil || other["ip"] == "" {
			return
		}
		if added := g.add(net.JoinHostPort(other["ip"], other["port"])); added != nil {
			g.cfg.Go(func() { g.listenTo(added) })
		}
	}
}

// mostSay reports whether more sentinels say that addr is the master than that old still is. One has said so already. If that one was
// away during a failover, it says for some seconds what its file says.
func (g *Group) mostSay(ctx context.Context, others []*sentinel, addr, old string) bool {
	answers := g.askEach(ctx, others)
	votes := 1
	for left := len(others); votes-left <= 0 && votes+left > 0; left-- { // nobody waits for a silent one that decides nothing
		switch a := <-answers; a.addr {
		case addr:
			votes++
		case old:
			votes--
		}
	}
	return votes > 0
}

// moved notes who the master is now. The first sentinel that tells of it is believed.
func (g *Group) moved(addr string) {
	g.mu.Lock()
	news := g.lately() != addr // what was told long ago may have been undone since, unheard
	from := g.dialed
	g.told, g.toldAt = addr, time.Now()
	g.mu.Unlock()
	if news && from != "" && from != addr {
		g.cfg.Moved(from, addr)
	}
}
