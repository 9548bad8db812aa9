package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Partials lie in partials/TREE, one file each: the bytes, then a note that says what
// they are, its length and its hash. One file, so that one rename takes or replaces
// bytes and note together.
const (
	partialDir  = "partials"
	noteSuffix  = ".json"    // beside the draft file of a download that is running
	takenSuffix = ".partial" // a partial in the folder of drafts of who resumes it
)

// Bounds of what is kept. A cold pull that is stopped leaves at most as many as it
// had downloads running, and a zip has at most 500 MiB; after a week the user has
// gone on to something else.
const (
	partialCount = 64
	partialBytes = 2 << 30
	partialAge   = 7 * 24 * time.Hour
)

// partialNote says what the bytes of a partial are.
type partialNote struct {
	Key  string    `json:"key"`
	Tree Tree      `json:"tree"`
	Meta Meta      `json:"meta"`
	At   time.Time `json:"at"` // when the bytes came
	Size int64     `json:"size"`
}

// The end of a partial: a mark, the length of the note, the start of its SHA-256.
const (
	partialMark = "gmpart1\n"
	partialSum  = 16
	partialEnd  = len(partialMark) + 4 + partialSum
	maxNote     = 16 << 10
)

func partialName(t Tree, k Key) string {
	sum := sha256.Sum256([]byte(k.String()))
	return partialDir + "/" + string(t) + "/" + hex.EncodeToString(sum[:16])
}

func (n partialNote) marshal() ([]byte, error) {
	note, err := json.Marshal(n)
	if err == nil && len(note) > maxNote {
		err = fmt.Errorf("a note of %d bytes", len(note))
	}
	return note, err
}

func (n partialNote) stale() bool { return time.Since(n.At) > partialAge }

// trailer is what follows the bytes.
func (n partialNote) trailer() ([]byte, error) {
	note, err := n.marshal()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(note)
	end := binary.LittleEndian.AppendUint32(append(note, partialMark...), uint32(len(note)))
	return append(end, sum[:partialSum]...), nil
}

// readPartial reads the note at the end of a partial.
func readPartial(f *os.File) (partialNote, error) {
	info, err := f.Stat()
	if err != nil {
		return partialNote{}, err
	}
	end := make([]byte, partialEnd)
	at := info.Size() - int64(len(end))
	if at < 0 {
		return partialNote{}, errNoPartial
	}
	if _, err := f.ReadAt(end, at); err != nil {
		return partialNote{}, err
	}
	mark, rest := end[:len(partialMark)], end[len(partialMark):]
	length := int64(binary.LittleEndian.Uint32(rest))
	if string(mark) != partialMark || length > min(maxNote, at) {
		return partialNote{}, errNoPartial
	}
	note := make([]byte, length)
	if _, err := f.ReadAt(note, at-length); err != nil {
		return partialNote{}, err
	}
	var n partialNote
	sum := sha256.Sum256(note)
	if string(sum[:partialSum]) != string(rest[4:]) || json.Unmarshal(note, &n) != nil || n.Size != at-length {
		return partialNote{}, errNoPartial
	}
	return n, nil
}

// sealPartial writes the note behind the n.Size bytes of a draft file and closes it.
// On a full disk the last bytes give way to the note: the beginning is what counts.
func (d *disk) sealPartial(f *os.File, n *partialNote) error {
	err := appendNote(f, *n)
	if isFull(err) {
		n.Size -= chunk
		err = appendNote(f, *n)
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

func appendNote(f *os.File, n partialNote) error {
	trailer, err := n.trailer()
	if err != nil {
		return err
	}
	if err := f.Truncate(n.Size); err != nil {
		return err
	}
	_, err = f.WriteAt(trailer, n.Size)
	return err
}

// shelve moves a sealed partial to where the next download of its key looks. Of two
// with the same validators the longer one stays, else the later one. Neither is
// needed once the version is held.
func (d *disk) shelve(name string, n partialNote) error {
	k, err := ParseKey(n.Key)
	if err != nil || k.kind != Zip || n.Tree != Public && n.Tree != Private {
		return errNoPartial
	}
	place := partialName(n.Tree, k)
	if d.exists(fileName(n.Tree, k)) {
		d.remove(name, place)
		return nil
	}
	if old, err := d.partialAt(place); err == nil {
		same := old.Meta.Upstream == n.Meta.Upstream && old.Meta.ETag == n.Meta.ETag && old.Meta.LastModified == n.Meta.LastModified
		if same && old.Size >= n.Size || !same && old.At.After(n.At) {
			d.remove(name)
			return nil
		}
	}
	err = d.rename(name, place)
	if ignoreMissing(err) == nil && err != nil {
		if err := d.root().MkdirAll(path.Dir(place), folderMode); err != nil {
			return err
		}
		err = d.rename(name, place)
	}
	return err
}

func (d *disk) partialAt(name string) (partialNote, error) {
	f, err := d.open(name)
	if err != nil {
		return partialNote{}, err
	}
	defer f.Close()
	return readPartial(f)
}

// rescue shelves what a process left in its folder of drafts: downloads with a note
// beside them and partials that it had taken. What is torn stays, and goes with the
// folder.
func (d *disk) rescue(home string) {
	files, err := d.readDir(home)
	if err != nil {
		return
	}
	for _, file := range files {
		name := home + "/" + file.Name()
		if draft, ok := strings.CutSuffix(name, noteSuffix); ok {
			_ = d.rescueDraft(draft) // goes with the folder
		} else if strings.HasSuffix(name, takenSuffix) {
			if n, err := d.partialAt(name); err == nil {
				_ = d.shelve(name, n)
			}
		}
	}
}

// rescueDraft shelves a draft file that a download was writing to. The kernel keeps
// what a killed process wrote, in order, so its bytes are a beginning of the answer.
func (d *disk) rescueDraft(draft string) error {
	note, _, err := d.read(draft + noteSuffix)
	if err != nil {
		return err
	}
	var n partialNote
	if err := json.Unmarshal(note, &n); err != nil {
		return err
	}
	f, err := d.openFile(draft, os.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if n.Size = info.Size(); n.Size < partialMin || n.stale() {
		return errNoPartial
	}
	d.remove(draft + noteSuffix) // as in Suspend: never a note beside a changed draft
	if err := d.sealPartial(f, &n); err != nil {
		return err
	}
	return d.shelve(draft, n)
}

// trimPartials removes the partials over the bounds, oldest first, and those too old. It
// reports whether there was any.
func (d *disk) trimPartials(limit int64) (removed bool) {
	type partial struct {
		name string
		info fs.FileInfo
	}
	var all []partial
	for _, t := range []Tree{Public, Private} {
		folder := partialDir + "/" + string(t)
		files, _ := d.readDir(folder) // one that can't be read is empty or next time's
		for _, file := range files {
			if info, err := file.Info(); err == nil { // else taken just now
				all = append(all, partial{folder + "/" + file.Name(), info})
			}
		}
	}
	slices.SortFunc(all, func(a, b partial) int { return b.info.ModTime().Compare(a.info.ModTime()) })
	var size int64
	for i, p := range all {
		size += p.info.Size()
		if i >= partialCount || size > limit || time.Since(p.info.ModTime()) > partialAge {
			d.remove(p.name)
			removed = true
		}
	}
	return removed
}
