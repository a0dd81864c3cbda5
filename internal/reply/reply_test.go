package reply

import (
	"strings"
	"testing"
)

func TestMeaningOfReplies(t *testing.T) {
	const (
		sha = " script: ff967d0ae0e68b4f9e360fa91c54598bc25ad9b6, on @user_script:1."
		six = "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica."
	)
	for text, want := range map[string]struct {
		code   string
		of     Meaning
		asCode Meaning // of a request that runs code
	}{
		"LOADING Redis is loading the dataset in memory":     {"LOADING", Refused, Refused},
		"ERR LOADING Redis is loading the dataset in memory": {"LOADING", Refused, Refused},
		"LOADING dset": {"LOADING", Refused, Answer},
		"READONLY You can't write against a read only replica.":       {"READONLY", Refused, Refused},
		"READONLY You can't write against a read only replica." + sha: {"READONLY", Refused, Refused},
		six:                                 {"READONLY", Refused, Refused},
		"TRYAGAIN limit of 10/s is reached": {"TRYAGAIN", Refused, Answer},
		"TRYAGAIN Multiple keys request during rehashing of slot":                                      {"TRYAGAIN", Refused, Refused},
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.":       {"BUSY", Refused, Refused},
		"BUSYGROUP Consumer Group name already exists":                                                 {"", Answer, Answer},
		"BUSYKEY Target key name already exists.":                                                      {"", Answer, Answer},
		"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)": {"UNBLOCKED", Refused, Answer},
		"UNBLOCKED client unblocked via CLIENT UNBLOCK":                                                {"", Answer, Answer},
		"UNBLOCKED the stream key no longer exists":                                                    {"", Answer, Answer},
		"OOM command not allowed when used memory > 'maxmemory'.":                                      {"OOM", Refused, Refused},
		"ERR max number of clients reached":                                                            {"MAXCLIENTS", Refused, Refused},
		"ERR max number of clients + cluster connections reached":                                      {"MAXCLIENTS", Refused, Refused},
		"upstream failure":                                                  {"PROXY", Doubtful, Doubtful},
		"ERR upstream failure":                                              {"PROXY", Doubtful, Doubtful},
		"no upstream host":                                                  {"PROXY", Refused, Refused},
		"ERR Connection refused":                                            {"PROXY", Refused, Refused},
		"ERR Connection timed out":                                          {"PROXY", Doubtful, Doubtful},
		"ERR Connection refused by the application":                         {"", Answer, Answer},
		"ERR no server connection avaliable":                                {"PROXY", Refused, Refused},
		"ERR handle response, backend conn reset":                           {"PROXY", Doubtful, Doubtful},
		"WRONGTYPE Operation against a key holding the wrong kind of value": {"", Answer, Answer},
		"ERR unknown command 'FOO'":                                         {"", Answer, Answer},
		"NOAUTH Authentication required.":                                   {"", Answer, Answer},
		"EXECABORT Transaction discarded because of previous errors.":       {"", Answer, Answer},
		"": {"", Answer, Answer},
	} {
		for name, look := range map[string]struct {
			of   func(string) (*Row, bool)
			want Meaning
		}{"Of": {Of, want.of}, "OfCode": {OfCode, want.asCode}} {
			row, ok := look.of(text)
			if ok != (look.want != Answer) {
				t.Errorf("%s(%q): found = %v, want %v", name, text, ok, look.want)
				continue
			}
			if ok && (row.Meaning != look.want || row.Code != want.code) {
				t.Errorf("%s(%q) = %s, %v; want %s, %v", name, text, row.Code, row.Meaning, want.code, look.want)
			}
		}
	}
}

// A row without a source is a guess, and a row behind a shorter one that begins the same is never reached.
func TestTableHasSourcesAndReachableRows(t *testing.T) {
	for i, row := range table {
		if !strings.Contains(row.Source, "/src/") && !strings.Contains(row.Source, "/source/") && !strings.Contains(row.Source, "/pkg/") {
			t.Errorf("%q: Source %q names no file", row.Text, row.Source)
		}
		if row.Code == "" || row.Meaning == Answer {
			t.Errorf("%q says nothing", row.Text)
		}
		text := row.Text
		if !row.Whole {
			text += "x"
		}
		if got, ok := Of(text); !ok || got != &table[i] {
			t.Errorf("%q is taken by %q", row.Text, got.Text)
		}
	}
}

// What the server writes in place of looking into a request comes out of no script.
func TestUnreadReplies(t *testing.T) {
	for text, want := range map[string]bool{
		"LOADING Redis is loading the dataset in memory":                                             true,
		"ERR LOADING Redis is loading the dataset in memory":                                         true,
		"LOADING Redis is loading the dataset in memory script: 1, on @user_script:1.":               false,
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.":           true,
		"READONLY You can't write against a read only replica.":                                      false,
		"OOM command not allowed when used memory > 'maxmemory'.":                                    false,
		"OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'": true,
	} {
		if got := Unread(text); got != want {
			t.Errorf("Unread(%q) = %v", text, got)
		}
	}
}

func FuzzOf(f *testing.F) {
	for _, row := range table {
		f.Add(row.Text)
		f.Add("ERR " + row.Text + " and more script: 1")
	}
	f.Fuzz(func(t *testing.T, text string) {
		row, ok := OfCode(text)
		if general, found := Of(text); ok && (!found || general != row) {
			t.Errorf("%q: code is told more than others", text)
		}
		_, _ = Inside(text), Unread(text)
	})
}
