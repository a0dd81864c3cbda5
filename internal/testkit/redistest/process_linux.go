package redistest

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"time"
)

// dieWithParent ends the server when the test process ends without running its clean-up: a panic, a test timeout, kill -9.
// It has a group of its own as well.
func dieWithParent() *syscall.SysProcAttr {
	attr := ownGroup()
	attr.Pdeathsig = syscall.SIGKILL
	return attr
}

// ownGroup keeps the terminal's Ctrl-C from a child: that is for the parent, which decides what to do with its servers.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// stop returns once the process has stopped: the signal alone would leave it time to answer a request sent afterwards.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Microsecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid()))
		if err != nil {
			return err
		}
		// "pid (name) state ...": the name may hold spaces and parentheses, so look behind the last one.
		if i := bytes.LastIndexByte(stat, ')'); i >= 0 && bytes.HasPrefix(stat[i:], []byte(") T")) {
			return nil
		}
	}
	return fmt.Errorf("redistest: process %d did not stop", p.pid())
}

func (p *process) cont() error { return p.cmd.Process.Signal(syscall.SIGCONT) }
