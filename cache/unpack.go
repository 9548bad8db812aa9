package cache

import (
	"archive/zip"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/flate"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// giantZip is the number of entries from which a zip is read alone: 600 bytes each make
// 3 MB. 190,000 take 110 MB while they are looked at, and were 270 MB.
const giantZip = 5_000

// turnBytes is how much a check unpacks, some 8 ms of work, before it lets one that
// waits go on: a zip of 300 MiB must not hold up the small ones for seconds.
const turnBytes = 1 << 20

// unpacker reads zips. It bounds what that costs however many come in at once: as many
// goroutines unpack as there are processors, and giants take turns.
//
// An inflater by klauspost, as it takes 0.8 of the time of compress/flate:
// BenchmarkInflate.
type unpacker struct {
	procs   int
	slots   *semaphore.Weighted // one a goroutine that unpacks
	waiting atomic.Int64        // goroutines that wait for a slot
	giants  *semaphore.Weighted // held while the entries of a giant are in memory

	blocks    sync.Pool // *[chunk]byte
	inflaters sync.Pool // *inflater
}

func newUnpacker() *unpacker {
	procs := runtime.GOMAXPROCS(0)
	return &unpacker{procs: procs, slots: semaphore.NewWeighted(int64(procs)), giants: semaphore.NewWeighted(1)}
}

func (u *unpacker) block() *[chunk]byte {
	if b, ok := u.blocks.Get().(*[chunk]byte); ok {
		return b
	}
	return new([chunk]byte)
}

func (u *unpacker) free(b *[chunk]byte) { u.blocks.Put(b) }

// turn is the right of a goroutine to unpack.
type turn struct {
	unpacker *unpacker
	used     int // bytes since it began
	held     bool
}

// begin waits for a turn. It is the one place where a check waits for others: here is
// where those that a client waits for would go first.
func (t *turn) begin(ctx context.Context) error {
	t.unpacker.waiting.Add(1)
	err := t.unpacker.slots.Acquire(ctx, 1)
	t.unpacker.waiting.Add(-1)
	t.used, t.held = 0, err == nil
	return err
}

func (t *turn) end() {
	if t.held {
		t.unpacker.slots.Release(1)
		t.held = false
	}
}

// over reports whether another goroutine should go on.
func (t *turn) over(n int) bool {
	t.used += n
	return t.used >= turnBytes && t.unpacker.waiting.Load() > 0
}

// hash returns the h1 of a module zip as the go command computes it, see
// [golang.org/x/mod/sumdb/dirhash.Hash1]. The caller has begun t. Idle processors help.
func (u *unpacker) hash(ctx context.Context, t *turn, z *zip.Reader) (string, error) {
	z.RegisterDecompressor(zip.Deflate, u.inflate)
	h := &zipHash{unpacker: u, files: z.File, sums: make([][sha256.Size]byte, len(z.File))}
	order, err := h.order()
	if err != nil {
		return "", err
	}
	group, ctx := errgroup.WithContext(ctx)
	for range min(u.procs-1, len(z.File)/8) {
		if !u.slots.TryAcquire(1) {
			break
		}
		group.Go(func() error { // ends with the entries, the first error, or when its slot is wanted
			help := &turn{unpacker: u, held: true}
			defer help.end()
			return h.work(ctx, help, true)
		})
	}
	err = h.work(ctx, t, false)
	if helped := group.Wait(); err == nil || errors.Is(err, context.Canceled) && helped != nil {
		err = helped
	}
	if err != nil {
		return "", err
	}
	all := sha256.New()
	for _, i := range order {
		fmt.Fprintf(all, "%x  %s\n", h.sums[i], z.File[i].Name)
	}
	return "h1:" + base64.StdEncoding.EncodeToString(all.Sum(nil)), nil
}

// zipHash is the hashing of one zip, by one goroutine or several.
type zipHash struct {
	unpacker *unpacker
	files    []*zip.File
	sums     [][sha256.Size]byte
	skip     map[int]bool // names that come again: the last one counts, as in dirhash
	next     atomic.Int64 // entry
}

// order returns the entries as they are summed up, by name.
func (h *zipHash) order() ([]int, error) {
	order := make([]int, len(h.files))
	for i := range order {
		order[i] = i
		if strings.Contains(h.files[i].Name, "\n") {
			return nil, errors.New("a file name with a line break")
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(h.files[a].Name, h.files[b].Name) })
	for i := len(order) - 2; i >= 0; i-- {
		if last := order[i+1]; h.files[order[i]].Name == h.files[last].Name {
			if h.skip == nil {
				h.skip = make(map[int]bool)
			}
			h.skip[order[i]] = true
			order[i] = last
		}
	}
	return order, nil
}

// work hashes entries until there are no more. In the order of the zip: its blocks are
// then read once. A helper goes when another check waits.
func (h *zipHash) work(ctx context.Context, t *turn, helper bool) error {
	buf := h.unpacker.block()
	defer h.unpacker.free(buf)
	sum := sha256.New()
	for {
		i := int(h.next.Add(1) - 1)
		if i >= len(h.files) {
			return nil
		}
		if h.skip[i] {
			continue
		}
		sum.Reset()
		if err := h.entry(ctx, t, sum, h.files[i], buf[:32<<10]); err != nil {
			return err
		}
		sum.Sum(h.sums[i][:0])
		if helper && t.over(0) {
			return nil
		}
	}
}

// entry reads one entry to its end, where archive/zip compares size and CRC.
func (h *zipHash) entry(ctx context.Context, t *turn, w io.Writer, f *zip.File, buf []byte) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		n, err := r.Read(buf)
		w.Write(buf[:n]) // to a hash: it can't fail
		if err == io.EOF {
			return ctx.Err()
		} else if err != nil {
			return err
		}
		if t.over(n) {
			t.end()
			if err := t.begin(ctx); err != nil {
				return err
			}
		}
	}
}

// inflater is a decompressor to be used again: it takes 80 KB.
type inflater struct {
	unpacker *unpacker
	in       *bufio.Reader
	flate    io.ReadCloser
}

func (u *unpacker) inflate(r io.Reader) io.ReadCloser {
	f, ok := u.inflaters.Get().(*inflater)
	if !ok {
		f = &inflater{unpacker: u, in: bufio.NewReader(nil)}
		f.flate = flate.NewReader(f.in)
	}
	f.in.Reset(r)
	// It fails only for a reader of another kind.
	_ = f.flate.(flate.Resetter).Reset(f.in, nil)
	return f
}

func (f *inflater) Read(p []byte) (int, error) {
	if f.flate == nil {
		return 0, io.ErrClosedPipe
	}
	return f.flate.Read(p)
}

// Close gives the inflater back. Reading goes on only in error.
func (f *inflater) Close() error {
	again := *f
	f.flate = nil
	again.in.Reset(nil)
	f.unpacker.inflaters.Put(&again)
	return nil
}
