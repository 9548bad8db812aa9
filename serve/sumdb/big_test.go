package sumdb

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/upstream"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// bigSize is about how many records the go command's default database has.
const bigSize = 72_000_000

// bigDB is a checksum database as large as a real one: a few records of it, spread
// over the whole, are modules of the test, all others are the same filler. It is a
// [Remote] that relays itself after a round trip.
type bigDB struct {
	name, vkey string
	signer     note.Signer
	server     http.Handler
	trip       time.Duration

	// stamp returns the size of the tree that the n-th lookup is stamped with.
	stamp func(n int64) int64
	// fault is called before each answer. Nil means none.
	fault func(ctx context.Context, path string) error

	ids     map[module.Version]int64
	records map[int64][]byte
	sorted  []int64
	uniform []tlog.Hash // of complete subtrees of filler, by level

	lookups atomic.Int64
	mu      sync.Mutex
	memo    map[[2]int64]tlog.Hash
	notes   map[int64][]byte
	bodies  map[string][]byte // answers that cost something to work out
	asked   []string
	flying  int
	most    int // requests at once
}

// newBigDB makes a database that has mod(0) to mod(n-1).
func newBigDB(t testing.TB, n int) *bigDB {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, "big.example.com")
	if err != nil {
		t.Fatal(err)
	}
	db := &bigDB{
		name: "big.example.com", vkey: vkey, ids: map[module.Version]int64{}, records: map[int64][]byte{},
		memo: map[[2]int64]tlog.Hash{}, notes: map[int64][]byte{}, bodies: map[string][]byte{}, stamp: func(int64) int64 { return bigSize },
	}
	if db.signer, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		// Neighbours are far apart, in the same order for every run.
		id := (int64(i)*40_503_001 + 12_345) % (bigSize - 200_000)
		db.ids[mod(i)] = id
		db.records[id], _ = testSum(mod(i).Path, mod(i).Version)
		db.sorted = append(db.sorted, id)
	}
	sort.Slice(db.sorted, func(i, j int) bool { return db.sorted[i] < db.sorted[j] })
	db.uniform = []tlog.Hash{tlog.RecordHash([]byte("filler\n"))}
	for l := range 40 {
		db.uniform = append(db.uniform, tlog.NodeHash(db.uniform[l], db.uniform[l]))
	}
	db.server = sumdb.NewServer(db)
	return db
}

// node returns the hash of a complete subtree.
func (db *bigDB) node(level int, n int64) tlog.Hash {
	i := sort.Search(len(db.sorted), func(i int) bool { return db.sorted[i] >= n<<level })
	if i == len(db.sorted) || db.sorted[i] >= (n+1)<<level {
		return db.uniform[level]
	}
	if level == 0 {
		return tlog.RecordHash(db.records[n])
	}
	at := [2]int64{int64(level), n}
	if h, ok := db.memo[at]; ok {
		return h
	}
	h := tlog.NodeHash(db.node(level-1, 2*n), db.node(level-1, 2*n+1))
	db.memo[at] = h
	return h
}

// ReadHashes implements tlog.HashReader.
func (db *bigDB) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	var all []tlog.Hash
	for _, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		all = append(all, db.node(level, n))
	}
	return all, nil
}

// head returns the signed head of a tree.
func (db *bigDB) head(size int64) []byte {
	db.mu.Lock()
	msg := db.notes[size]
	db.mu.Unlock()
	if msg == nil {
		hash, _ := tlog.TreeHash(size, db)
		msg, _ = note.Sign(&note.Note{Text: string(tlog.FormatTree(tlog.Tree{N: size, Hash: hash}))}, db.signer)
		db.mu.Lock()
		db.notes[size] = msg
		db.mu.Unlock()
	}
	return msg
}

// Signed implements sumdb.ServerOps.
func (db *bigDB) Signed(context.Context) ([]byte, error) {
	return db.head(db.stamp(db.lookups.Add(1) - 1)), nil
}

// ReadRecords implements sumdb.ServerOps.
func (db *bigDB) ReadRecords(_ context.Context, id, _ int64) ([][]byte, error) {
	return [][]byte{db.records[id]}, nil
}

// Lookup implements sumdb.ServerOps.
func (db *bigDB) Lookup(_ context.Context, m module.Version) (int64, error) {
	if id, ok := db.ids[m]; ok {
		return id, nil
	}
	return 0, fs.ErrNotExist
}

// ReadTileData implements sumdb.ServerOps.
func (db *bigDB) ReadTileData(_ context.Context, t tlog.Tile) ([]byte, error) {
	return tlog.ReadTileData(t, db)
}

func (db *bigDB) Name() string { return "https://relay.example.com" }

// Get implements [Remote].
func (db *bigDB) Get(ctx context.Context, path string) ([]byte, error) {
	path = strings.TrimPrefix(path, "sumdb/"+db.name+"/")
	db.mu.Lock()
	db.asked = append(db.asked, path)
	db.flying++
	db.most = max(db.most, db.flying)
	db.mu.Unlock()
	defer func() {
		db.mu.Lock()
		db.flying--
		db.mu.Unlock()
	}()
	if db.fault != nil {
		if err := db.fault(ctx, path); err != nil {
			return nil, err
		}
	}
	if db.trip > 0 {
		select {
		case <-time.After(db.trip):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if path == "supported" {
		return nil, nil
	}
	if strings.HasPrefix(path, "tile/") {
		db.mu.Lock()
		data := db.bodies[path]
		db.mu.Unlock()
		if data != nil {
			return data, nil
		}
	}
	rec := httptest.NewRecorder()
	db.server.ServeHTTP(rec, &http.Request{Method: "GET", URL: &url.URL{Path: "/" + path}})
	if rec.Code != 200 {
		return nil, &upstream.StatusError{URL: db.Name(), Code: rec.Code, Text: rec.Body.String()}
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.bodies[path] = rec.Body.Bytes()
	return rec.Body.Bytes(), nil
}

// count returns how many requests began with a prefix, and forgets them all.
func (db *bigDB) count() (lookups, tiles, others int) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, path := range db.asked {
		switch {
		case strings.HasPrefix(path, "lookup/"):
			lookups++
		case strings.HasPrefix(path, "tile/"):
			tiles++
		default:
			others++
		}
	}
	db.asked = nil
	return lookups, tiles, others
}

// open starts a Database that reaches db alone, through a relay.
func (db *bigDB) open(t testing.TB, dir string) *Database {
	t.Helper()
	d, err := New(Options{
		GOSUMDB: db.vkey, StateDir: dir + "/state", CacheDir: dir + "/cache", Client: host{}.client(nil),
		Remotes: func() []Remote { return []Remote{db} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// burst looks n versions up, from the first on, at most width at once.
func (db *bigDB) burst(t testing.TB, d *Database, first, n, width int) {
	t.Helper()
	slots := make(chan struct{}, width)
	var wg sync.WaitGroup
	for i := first; i < first+n; i++ {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			d.Announce(t.Context(), mod(i))
			rec, err := d.main.lookupCtx(t.Context(), mod(i), true)
			if err == nil && rec.sum(mod(i).Path, mod(i).Version+"/go.mod") != testModSum(mod(i).Path) {
				err = errors.New("wrong record")
			}
			if err != nil {
				t.Errorf("%v: %v", mod(i), err)
			}
		})
	}
	wg.Wait()
}

// stampings are how the lookups of a burst may be stamped.
func stampings() map[string]func(int64) int64 {
	return map[string]func(int64) int64{
		"one head":        func(int64) int64 { return bigSize },
		"growing":         func(n int64) int64 { return bigSize + 3*n },
		"older and newer": func(n int64) int64 { return bigSize - n*7919%150_000 },
	}
}
