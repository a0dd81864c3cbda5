package replay

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/resp"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/samples"
)

// twice is a server to run samples on.
type twice struct {
	t   *testing.T
	dbs []*redis.Client // indexes 0 and 1
}

func newTwice(t *testing.T) *twice {
	// A small node makes approximate trimming of short streams visible.
	server := redistest.Start(t, redistest.Lines("stream-node-max-entries 2"))
	options := server.Options()
	options.DB = 1
	second := redis.NewClient(options)
	t.Cleanup(func() { _ = second.Close() })
	return &twice{t, []*redis.Client{server.Client(), second}}
}

// run makes the data of a sample and returns all that is there before, after one run, and after two.
func (w *twice) run(s samples.Sample) (before, once, again string) {
	require.NoError(w.t, w.dbs[0].FlushAll(w.t.Context()).Err())
	for _, line := range linesOf(s.Given) {
		require.NoError(w.t, w.do(line), "%s", line)
	}
	before = w.read()
	require.NoError(w.t, w.do(s.Line), "%s", s.Line)
	once = w.read()
	if err := w.do(s.Line); err != nil { // the second run may fail: there is nothing left to rename
		var reply redis.Error
		require.ErrorAs(w.t, err, &reply, "%s", s.Line)
	}
	return before, once, w.read()
}

func (w *twice) do(line string) error {
	args := command(line).Args()
	for i, arg := range args {
		text := arg.(string)
		if code, ok := strings.CutPrefix(text, "lua:"); ok {
			args[i] = strings.ReplaceAll(code, "_", " ")
		}
		kind, operand, _ := strings.Cut(strings.Trim(text, "{}"), ":")
		switch {
		case !strings.HasPrefix(text, "{"):
		case kind == "dump":
			args[i] = w.dbs[0].Dump(w.t.Context(), operand).Val()
		case strings.HasPrefix(kind, "s+"):
			after, _ := strconv.Atoi(kind[2:])
			args[i] = time.Now().Unix() + int64(after)
		case strings.HasPrefix(kind, "ms+"):
			after, _ := strconv.Atoi(kind[3:])
			args[i] = time.Now().UnixMilli() + int64(after)
		}
	}
	err := w.dbs[0].Do(w.t.Context(), args...).Err()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

// read returns everything in both databases. A time to live counts in hundreds of seconds, and the samples have them in
// thousands. Of a delivery it is who has it that counts, not how often or when.
func (w *twice) read() string {
	var all []string
	ctx := w.t.Context()
	for i, rdb := range w.dbs {
		keys, err := rdb.Keys(ctx, "*").Result()
		require.NoError(w.t, err)
		slices.Sort(keys)
		for _, key := range keys {
			var content any
			kind := rdb.Type(ctx, key).Val()
			switch kind {
			case "string":
				content = rdb.Get(ctx, key).Val()
			case "list":
				content = rdb.LRange(ctx, key, 0, -1).Val()
			case "set":
				members := rdb.SMembers(ctx, key).Val()
				slices.Sort(members)
				content = members
			case "hash":
				content = rdb.HGetAll(ctx, key).Val() // fmt sorts maps
			case "zset":
				content = rdb.ZRangeWithScores(ctx, key, 0, -1).Val()
			case "stream":
				content = w.readStream(rdb, key)
			default:
				require.Fail(w.t, "a type that nobody reads", kind)
			}
			ttl := rdb.PTTL(ctx, key).Val()
			if ttl > 0 {
				ttl = ttl.Round(100 * time.Second)
			}
			all = append(all, fmt.Sprintf("%d %s %s %q %v", i, key, kind, fmt.Sprint(content), ttl))
		}
	}
	return strings.Join(all, "\n")
}

func (w *twice) readStream(rdb *redis.Client, key string) string {
	ctx := w.t.Context()
	info, err := rdb.XInfoStream(ctx, key).Result()
	require.NoError(w.t, err)
	content := []any{rdb.XRange(ctx, key, "-", "+").Val(), info.LastGeneratedID, info.MaxDeletedEntryID, info.EntriesAdded}
	for _, group := range rdb.XInfoGroups(ctx, key).Val() {
		content = append(content, group.Name, group.LastDeliveredID)
		for _, consumer := range rdb.XInfoConsumers(ctx, key, group.Name).Val() {
			content = append(content, consumer.Name)
		}
		pending, err := rdb.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: key, Group: group.Name, Start: "-", End: "+", Count: 1000,
		}).Result()
		require.NoError(w.t, err)
		for _, p := range pending {
			content = append(content, p.ID, p.Consumer)
		}
	}
	return fmt.Sprint(content...)
}

// A checked or last-wins command that is run twice leaves behind what one run does.
func TestReplayTwiceIsOnce(t *testing.T) {
	w := newTwice(t)
	sampled := make(map[string]bool)
	for rung, text := range map[Rung]string{Checked: samples.Checked, LastWins: samples.LastWins} {
		for _, s := range samples.Of(text) {
			words := strings.Fields(resp.Lower(s.Line))
			sampled[words[0]], sampled[words[0]+"|"+words[1]] = true, true
			before, once, again := w.run(s)
			assert.Equal(t, rung, Rules{}.Rung(command(s.Line)), "%s", s.Line)
			assert.NotEqual(t, before, once, "%s does nothing here, so it shows nothing", s.Line)
			assert.Equal(t, once, again, "%s after %s", s.Line, s.Given)
		}
	}
	// None of them is only believed to be harmless.
	for _, group := range rungRows {
		for _, line := range linesOf(group.lines) {
			words := append(strings.Fields(resp.Lower(line)), "")
			name, sub := words[0], words[0]+"|"+words[1]
			if _, ok := serverCommands[sub]; ok {
				name = sub
			}
			if (group.rung == Checked || group.rung == LastWins) && serverCommands[name]&flagWrite != 0 {
				assert.True(t, sampled[name], "no sample runs %s twice", name)
			}
		}
	}
}

// The same look sees that an accumulating command is applied twice, and that what only another server can show is not
// more harmless than its rung says.
func TestReplayTwiceIsNotOnce(t *testing.T) {
	w := newTwice(t)
	for _, s := range samples.Of(samples.Accumulating) {
		_, once, again := w.run(s)
		assert.GreaterOrEqual(t, Rules{}.Rung(command(s.Line)), Accumulating, "%s", s.Line)
		assert.NotEqual(t, once, again, "%s after %s: nothing is doubled", s.Line, s.Given)
	}
}

// A command on the rungs up to read changes nothing even once.
func TestReplayReadersChangeNothing(t *testing.T) {
	w := newTwice(t)
	for _, s := range samples.Of(samples.Read) {
		before, once, again := w.run(s)
		assert.LessOrEqual(t, Rules{}.Rung(command(s.Line)), Read, "%s", s.Line)
		assert.Equal(t, before, once, "%s", s.Line)
		assert.Equal(t, before, again, "%s", s.Line)
	}
}
