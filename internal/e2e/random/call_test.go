package random_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/scripted"
)

// call is one command of a caller's: its key is its own, so that both sides know it again.
type call struct {
	id     string
	args   []any
	rung   multidb.Replay // the highest rung from which on it may run twice
	answer answer

	mu       sync.Mutex
	said     []saying // Guarded by mu
	executed int      // Guarded by mu
	taken    int      // Guarded by mu; how often the socket has taken at least a byte of it
}

// saying is what a database has said to a call.
type saying struct {
	by, text string
	refused  bool
}

// forms are the commands that are called; K stands for the key.
var forms = []struct {
	line string
	rung multidb.Replay
}{
	{"get K", multidb.ReplayRead},
	{"lrange K 0 -1", multidb.ReplayRead},
	{"hgetall K", multidb.ReplayRead},
	{"setnx K v", multidb.ReplayChecked},
	{"set K v", multidb.ReplayLastWins},
	{"incr K", multidb.ReplayAccumulating},
	{"rpush K v", multidb.ReplayAccumulating},
	{"xadd K * f v", multidb.ReplayAccumulating},
	{"eval code 1 K", multidb.ReplayAccumulating},
	{"vendor.write K", multidb.ReplayAll},
}

// answer makes the reply to the n-th execution of a call, and what a caller must see of it.
type answer func(by string, c *call, n int, r scripted.Request) (reply, seen string)

var answers = []answer{
	func(by string, c *call, n int, _ scripted.Request) (string, string) {
		text := fmt.Sprintf("%s/%s/%d", by, c.id, n)
		return scripted.Bulk(text), text
	},
	func(_ string, c *call, n int, _ scripted.Request) (string, string) {
		number, _ := strconv.Atoi(c.id[len(idPrefix):])
		return scripted.Int(number*10 + n), strconv.Itoa(number*10 + n)
	},
	func(by string, c *call, _ int, _ scripted.Request) (string, string) { // larger than a buffer
		text := strings.Repeat(by+c.id+"\r\n", 900)
		return scripted.Bulk(text), text
	},
	func(_ string, _ *call, _ int, r scripted.Request) (string, string) {
		return r.Nil(), "error: redis: nil"
	},
	func(_ string, _ *call, _ int, r scripted.Request) (string, string) {
		return r.NilArray(), "error: redis: nil"
	},
	func(string, *call, int, scripted.Request) (string, string) { return scripted.Array(), "[]" },
	func(by string, c *call, _ int, r scripted.Request) (string, string) {
		if r.Protocol == 3 {
			return r.Map("by", scripted.Bulk(by), c.id, scripted.Array(scripted.Int(1), r.Nil())), fmt.Sprintf("map[by:%s %s:[1 <nil>]]", by, c.id)
		}
		return scripted.Array(scripted.Bulk(by), scripted.Array(scripted.Int(1), r.Nil())), fmt.Sprintf("[%s [1 <nil>]]", by)
	},
	func(by string, c *call, _ int, _ scripted.Request) (string, string) {
		text := "WRONGTYPE of " + c.id + " on " + by
		return scripted.Error(text), "error: " + text
	},
	func(by string, c *call, _ int, _ scripted.Request) (string, string) {
		text := "ERR no such thing as " + c.id + " on " + by
		return scripted.Error(text), "error: " + text
	},
}

// took notes that the socket has taken a byte of the call, or with -1 that it has not after all.
func (c *call) took(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken += n
}

// execute executes the call and notes what it answers.
func (c *call) execute(by string, r scripted.Request) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.executed++
	reply, seen := c.answer(by, c, c.executed, r)
	c.said = append(c.said, saying{by, seen, false})
	return reply
}

func (c *call) say(by, text string, refused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = append(c.said, saying{by, text, refused})
}

const idPrefix = "id:"

// command makes the command that go-redis runs.
func (c *call) command(ctx context.Context) *redis.Cmd { return redis.NewCmd(ctx, c.args...) }

// newCall makes a call of a random form with a random answer.
func (w *world) newCall(p *pen) *call {
	form := forms[p.IntN(len(forms))]
	w.mu.Lock()
	w.made++
	c := &call{id: idPrefix + strconv.Itoa(w.made), rung: form.rung, answer: answers[p.IntN(len(answers))]}
	w.calls[c.id] = c
	w.mu.Unlock()
	for _, word := range strings.Fields(form.line) {
		if word == "K" {
			word = c.id
		}
		c.args = append(c.args, word)
	}
	return c
}

// callOf finds the call that a request belongs to, or nil.
func (w *world) callOf(args []string) *call {
	for _, arg := range args {
		if strings.HasPrefix(arg, idPrefix) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.calls[arg]
		}
	}
	return nil
}

// sharedKeys is how many keys are read by everybody, through the cache if there is one.
const sharedKeys = 8

func sharedKey(n int) string        { return "shared:" + strconv.Itoa(n) }
func sharedValue(key string) string { return "the value of " + key }
