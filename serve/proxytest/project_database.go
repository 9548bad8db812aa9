package proxytest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"sync"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// deepSize is the number of records of a deep database: as many as make its tiles as
// many levels, and each lookup's tiles as few in common, as those of a real one.
const deepSize = 48_000_000

// fillerRecord is what all records hold that nobody looks up. As they are the same,
// so are the hashes of whole subtrees of them, and none is ever stored.
const fillerRecord = "filler.example v1.0.0 h1:filler=\n"

// deepDatabase is a [sumdb.ServerOps] whose tree does not grow.
type deepDatabase struct {
	at      []int64          // where the records that matter are, sorted
	records map[int64]string // by place
	places  map[module.Version]int64
	filler  []tlog.Hash // by level: the hash of a subtree of filler
	head    []byte      // signed

	mu     sync.Mutex
	hashes map[[2]int64]tlog.Hash // guarded by mu; of subtrees that matter, by level and place
}

// newDeepDatabase makes a database of real size that vouches for lines.
func newDeepDatabase(name string, lines map[module.Version]string) (*Database, error) {
	signer, key, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, err
	}
	d := &deepDatabase{records: make(map[int64]string), places: make(map[module.Version]int64), hashes: make(map[[2]int64]tlog.Hash)}
	for v, text := range lines {
		place := int64(seed(v.Path+"@"+v.Version) % deepSize)
		for d.records[place] != "" {
			place = (place + 1) % deepSize
		}
		d.places[v], d.records[place] = place, text
		d.at = append(d.at, place)
	}
	slices.Sort(d.at)
	d.filler = []tlog.Hash{tlog.RecordHash([]byte(fillerRecord))}
	for level := range 40 {
		d.filler = append(d.filler, tlog.NodeHash(d.filler[level], d.filler[level]))
	}
	root, err := tlog.TreeHash(deepSize, tlog.HashReaderFunc(d.readHashes))
	if err != nil {
		return nil, err
	}
	s, err := note.NewSigner(signer)
	if err != nil {
		return nil, err
	}
	d.head, err = note.Sign(&note.Note{Text: string(tlog.FormatTree(tlog.Tree{N: deepSize, Hash: root}))}, s)
	if err != nil {
		return nil, err
	}
	return &Database{Name: name, Key: key, handler: sumdb.NewServer(d), lines: lines}, nil
}

// Signed returns the tree note.
func (d *deepDatabase) Signed(context.Context) ([]byte, error) { return d.head, nil }

// ReadRecords returns the n records from id on.
func (d *deepDatabase) ReadRecords(_ context.Context, id, n int64) ([][]byte, error) {
	var list [][]byte
	for i := id; i < id+n; i++ {
		text := d.records[i]
		if text == "" {
			text = fillerRecord
		}
		list = append(list, []byte(text))
	}
	return list, nil
}

// Lookup returns the place of a version's record.
func (d *deepDatabase) Lookup(_ context.Context, v module.Version) (int64, error) {
	place, ok := d.places[v]
	if !ok {
		return 0, fmt.Errorf("%s: unknown revision: %w", v, fs.ErrNotExist)
	}
	return place, nil
}

// ReadTileData returns the hashes of a tile.
func (d *deepDatabase) ReadTileData(_ context.Context, t tlog.Tile) ([]byte, error) {
	return tlog.ReadTileData(t, tlog.HashReaderFunc(d.readHashes))
}

func (d *deepDatabase) readHashes(indexes []int64) ([]tlog.Hash, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []tlog.Hash
	for _, i := range indexes {
		level, n := tlog.SplitStoredHashIndex(i)
		list = append(list, d.hash(level, n))
	}
	return list, nil
}

// hash returns the hash of the nth subtree of a level; mu must be held.
func (d *deepDatabase) hash(level int, n int64) tlog.Hash {
	first := sort.Search(len(d.at), func(i int) bool { return d.at[i] >= n<<level })
	if first == len(d.at) || d.at[first] >= (n+1)<<level {
		return d.filler[level]
	}
	if level == 0 {
		return tlog.RecordHash([]byte(d.records[n]))
	}
	at := [2]int64{int64(level), n}
	if h, ok := d.hashes[at]; ok {
		return h
	}
	h := tlog.NodeHash(d.hash(level-1, 2*n), d.hash(level-1, 2*n+1))
	d.hashes[at] = h
	return h
}
