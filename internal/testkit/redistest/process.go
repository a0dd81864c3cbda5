package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"sync"
)

// process is one life of a redis-server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once the process has ended and was waited for
}

// startProcess runs redis-server with a configuration file, its output in the file log.
func startProcess(binary, conf, log string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own descriptor

	p := &process{cmd: exec.Command(binary, conf), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = dieWithParent()

	started := make(chan error, 1)
	go func() {
		// Linux sends the parent-death signal when the *thread* that forked ends, so that thread must be kept for as long
		// as the child lives: this goroutine owns it and has to wait for the child anyway.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = p.cmd.Wait() // how it ended is in the log
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the process, stopped or not, and waits for it. One that has ended already is fine.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return nil
}

// ErrNotInstalled says that there is no redis-server on PATH.
var ErrNotInstalled = errors.New("redistest: redis-server is not on PATH")

var versionPattern = regexp.MustCompile(`v=(\d+)\.`)

type binary struct {
	path    string
	version int // major
}

// findBinary looks for redis-server once per process: asking it for its version costs a fork.
var findBinary = sync.OnceValues(func() (binary, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return binary{}, ErrNotInstalled
	}
	probe := exec.Command(path, "--version")
	probe.SysProcAttr = ownGroup()
	out, err := probe.Output()
	if err != nil {
		return binary{}, fmt.Errorf("redistest: %s --version: %w", path, err)
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return binary{}, fmt.Errorf("redistest: %s --version says %q: no version in it", path, out)
	}
	version, err := strconv.Atoi(string(m[1]))
	return binary{path: path, version: version}, err
})
