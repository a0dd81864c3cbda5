package replay

// Form is a command of a fixed form: its name and how many arguments it has, the name included; 0 is any number.
type Form struct {
	Name string
	Args int
	Kind Kind
}

// Kind says which commands of a form may run twice in the order in which they were sent, any of them in part, with which others.
type Kind uint8

// The kinds.
const (
	// Constant: whatever ran before, after or in between. It only reads, or it gives whole keys a constant value or deletes them.
	Constant Kind = iota
	// Expiring is Constant, and there may be two arguments more that give a time to live.
	Expiring
	// Filling sets parts of keys to constants. Beside Constant and Filling only.
	Filling
	// Scoring is Filling if the third argument is a number, and no option.
	Scoring
	// Emptying removes parts of keys. Beside Constant and Emptying only.
	Emptying
)

// InOrder returns the commands that may run twice if all of a sequence does, in its order. It is what can be said of a request by its
// name, the number of its arguments and one of them; [Rules.May] says more.
func (r Rules) InOrder() (forms []Form) {
	highest, _ := r.max.resolve()
	add := func(kind Kind, args int, rung Rung, names ...string) {
		for _, name := range names {
			if _, declared := r.user[name]; !declared && highest >= rung {
				forms = append(forms, Form{name, args, kind})
			}
		}
	}
	for name, flags := range serverCommands {
		if _, judged := ruleOf[name]; !judged && flags&flagRead != 0 && flags&flagBlocking == 0 {
			add(Constant, 0, Read, name)
		}
	}
	add(Constant, 0, Connection, "ping", "echo")
	add(Constant, 0, Checked, "del", "unlink")
	add(Constant, 0, LastWins, "mset", "setex", "psetex")
	add(Expiring, 3, LastWins, "set")
	add(Filling, 0, Checked, "sadd")
	add(Filling, 0, LastWins, "hset", "hmset", "setbit", "setrange")
	add(Scoring, 0, LastWins, "zadd", "geoadd")
	add(Emptying, 0, Checked, "hdel", "srem", "zrem")
	return forms
}

// Blocking returns the commands whose reply may have to wait for another client or for replicas.
func Blocking() (names []string) {
	names = []string{"wait", "waitaof"}
	for name, flags := range serverCommands {
		if flags&flagBlocking != 0 && name != "wait" && name != "waitaof" {
			names = append(names, name)
		}
	}
	return names
}
