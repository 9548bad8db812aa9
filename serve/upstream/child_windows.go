package upstream

import (
	"os/exec"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

// group is a job object that holds a child and all that it starts. A process that
// the child starts before it is put into the job escapes: it starts none so early.
type group struct {
	cmd *exec.Cmd
	job windows.Handle // 0 if the system gave none: then only the go command is ended
}

func newGroup(cmd *exec.Cmd) *group {
	g := &group{cmd: cmd}
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return g
	}
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE},
	}
	if _, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits))); err != nil {
		_ = windows.CloseHandle(job)
		return g
	}
	g.job = job
	return g
}

// started puts the running child into the job.
func (g *group) started() {
	if g.job == 0 {
		return
	}
	const access = windows.PROCESS_SET_QUOTA | windows.PROCESS_TERMINATE
	process, err := windows.OpenProcess(access, false, uint32(g.cmd.Process.Pid))
	if err != nil {
		return
	}
	defer func() { _ = windows.CloseHandle(process) }()
	_ = windows.AssignProcessToJobObject(g.job, process)
}

// terminate ends the child and what it started. Windows has no gentle way for
// programs without a console; lock files that git leaves are healed later.
func (g *group) terminate() error {
	if g.job != 0 {
		_ = windows.TerminateJobObject(g.job, 1)
	}
	return g.cmd.Process.Kill()
}

// end closes the job, which ends what is left in it.
func (g *group) end(bool) {
	if g.job != 0 {
		_ = windows.CloseHandle(g.job)
	}
}

// systemEnviron is what programs of this system need beside [Direct.environ]: no
// socket opens without SystemRoot.
func systemEnviron(box string) []string {
	home, tmp := filepath.Join(box, "home"), filepath.Join(box, "tmp")
	root, err := windows.GetSystemWindowsDirectory()
	if err != nil {
		root = `C:\Windows`
	}
	return []string{
		"SystemRoot=" + root,
		"USERPROFILE=" + home,
		"APPDATA=" + userConfig(home),
		"LOCALAPPDATA=" + filepath.Join(home, "AppData", "Local"),
		"TEMP=" + tmp,
		"TMP=" + tmp,
	}
}

// userConfig is where the go command looks for its telemetry mode, see
// os.UserConfigDir.
func userConfig(home string) string { return filepath.Join(home, "AppData", "Roaming") }
