package conn

import "sync/atomic"

// Client is what the connections of one client have in common.
type Client struct {
	// contradicted: the log says already that the client names another index than a database does.
	contradicted atomic.Bool

	// pooled is how many routed connections the client has, those of subscriptions left out.
	pooled atomic.Int64
}

// NewClient makes one.
func NewClient() *Client { return &Client{} }

// Pooled returns how many routed connections the client has, those of subscriptions left out.
func (c *Client) Pooled() int { return int(c.pooled.Load()) }
