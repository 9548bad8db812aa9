package sumdb

import (
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// hotTiles bounds the tiles in memory: 2 MiB of 8 KiB each.
const hotTiles = 256

// hot keeps verified tiles in memory. Those near the root serve every proof.
type hot struct {
	mu    sync.Mutex
	tiles map[place][]byte
}

// place is where a tile is, whatever its width.
type place struct {
	level int
	n     int64
}

func newHot() *hot { return &hot{tiles: map[place][]byte{}} }

// tile returns a tile, cut from a wider one if need be, or nil.
func (h *hot) tile(t tlog.Tile) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	data := h.tiles[place{t.L, t.N}]
	if len(data) < t.W*tlog.HashSize {
		return nil
	}
	return data[:t.W*tlog.HashSize]
}

// add keeps a verified tile and reports whether it was new.
func (h *hot) add(t tlog.Tile, data []byte) bool {
	at := place{t.L, t.N}
	h.mu.Lock()
	defer h.mu.Unlock()
	held, ok := h.tiles[at]
	if len(held) >= len(data) {
		return false
	}
	if !ok && len(h.tiles) >= hotTiles {
		h.drop()
	}
	h.tiles[at] = data
	return true
}

// drop makes room: for a tile of the lowest level there is the least further use.
func (h *hot) drop() {
	var victim place
	looked := 0
	for at := range h.tiles { // in no order
		if looked == 0 || at.level < victim.level {
			victim = at
		}
		if looked++; victim.level == 0 || looked == 32 {
			break
		}
	}
	delete(h.tiles, victim)
}
