//go:build !linux

package redistest

import (
	"os/exec"
	"strconv"
	"syscall"
)

// dieWithParent has no counterpart outside Linux: a test process that dies without its clean-up leaves its servers behind.
func dieWithParent() *syscall.SysProcAttr { return nil }

// ownGroup has no counterpart that builds everywhere: the terminal's Ctrl-C reaches the children, too.
func ownGroup() *syscall.SysProcAttr { return nil }

// stop and cont go through kill(1), so that this file builds where package syscall has no such signals.
func (p *process) stop() error { return p.killCommand("-STOP") }
func (p *process) cont() error { return p.killCommand("-CONT") }

func (p *process) killCommand(signal string) error {
	return exec.Command("kill", signal, strconv.Itoa(p.pid())).Run()
}
