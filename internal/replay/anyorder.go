package replay

// Form is a command of a fixed form: its name and how many arguments it has, the name included; 0 is any number.
type Form struct {
	Name string
	Args int
}

// AnyOrder returns the commands that may run twice whatever ran before, after or in between of them: those that only read,
// and those that give whole keys a constant value or delete them. It is what can be said of a request by its name and the
// number of its arguments; [Rules.May] says more.
func (r Rules) AnyOrder() (forms []Form) {
	highest, _ := r.max.resolve()
	add := func(name string, args int, rung Rung) {
		if _, declared := r.user[name]; !declared && highest >= rung {
			forms = append(forms, Form{name, args})
		}
	}
	for name, flags := range serverCommands {
		if _, judged := ruleOf[name]; !judged && flags&flagRead != 0 && flags&flagBlocking == 0 {
			add(name, 0, Read)
		}
	}
	for _, name := range []string{"ping", "echo"} {
		add(name, 0, Connection)
	}
	for _, name := range []string{"del", "unlink"} {
		add(name, 0, Checked)
	}
	for _, name := range []string{"mset", "setex", "psetex"} {
		add(name, 0, LastWins)
	}
	add("set", 3, LastWins)
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
