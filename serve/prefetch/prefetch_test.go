package prefetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/mirror"
	"github.com/gomirror/gomirror/serve/upstream"
)

// trip is how long every fetch takes in these tests.
const trip = 100 * time.Millisecond

// origin answers like a mirror whose upstream is a trip away.
type origin struct {
	t     *testing.T
	store *cache.Store
	mods  map[string]string // "PATH@VERSION" -> go.mod
	zips  int64             // bytes of each zip
	from  string            // the upstream that has delivered all
	holds bool              // what was fetched is a hit later, as it is of a cache

	sizes map[cache.Key]int64 // of zips whose length is told ahead

	mu     sync.Mutex
	trip   time.Duration // of a fetch, 0 is trip
	held   map[cache.Key]bool
	asked  []string // in order, those in the background
	flying int
	most   int // zips in flight at once
}

func (o *origin) Get(ctx context.Context, key cache.Key) (*mirror.Answer, error) {
	mod := key.Module()
	zip := key.Kind() == cache.Zip
	o.mu.Lock()
	o.asked = append(o.asked, key.String())
	if zip {
		o.flying++
		o.most = max(o.most, o.flying)
	}
	took := cmp.Or(o.trip, trip)
	if o.holds && o.held[key] {
		took = 0
	}
	o.mu.Unlock()
	select {
	case <-time.After(took):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	err := o.room(ctx, key)
	o.mu.Lock()
	defer o.mu.Unlock()
	if zip {
		o.flying--
	}
	if err != nil {
		return nil, err
	}
	text, ok := o.mods[mod.String()]
	if !ok {
		return nil, fmt.Errorf("find %s: %w", key, fs.ErrNotExist)
	}
	// A draft that is served unkept stands in for any entry.
	draft, err := o.store.Draft(cache.Public, must(cache.NewKey(mod.Path, mod.Version, cache.Mod)))
	if err != nil {
		return nil, err
	}
	if _, err := draft.ReadFrom(strings.NewReader(text)); err != nil {
		return nil, err
	}
	if err := draft.Check(); err != nil {
		return nil, err
	}
	entry, err := draft.Entry()
	if err != nil {
		return nil, err
	}
	if zip {
		entry.Size = cmp.Or(o.sizes[key], o.zips)
	}
	entry.Meta.Upstream = o.from
	state := mirror.Miss
	if o.holds && took == 0 {
		state = mirror.Hit
	}
	if o.held == nil {
		o.held = make(map[cache.Key]bool)
	}
	o.held[key] = true
	return &mirror.Answer{Entry: entry, State: state}, nil
}

// room asks the fetch whether there is room for a zip, as an upstream does that tells how
// long it is; then the body flows for a trip.
func (o *origin) room(ctx context.Context, key cache.Key) error {
	size, ok := o.sizes[key]
	if !ok {
		return nil
	}
	if err := upstream.RoomFor(ctx, size); err != nil {
		return err
	}
	time.Sleep(trip)
	return nil
}

func must(key cache.Key, err error) cache.Key {
	if err != nil {
		panic(err)
	}
	return key
}

func (o *origin) setTrip(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.trip = d
}

func (o *origin) log(suffix string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var names []string
	for _, name := range o.asked {
		if strings.HasSuffix(name, suffix) {
			names = append(names, strings.TrimPrefix(name, "example.com/"))
		}
	}
	return names
}

// rig runs a Prefetch over an origin until the test ends. It must be called in a
// synctest bubble.
func rig(t *testing.T, o *origin, opts Options) *Prefetch {
	t.Helper()
	store, err := cache.Open(cache.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	o.t, o.store = t, store
	opts.Get = o.Get
	if opts.Projects == nil {
		opts.Projects = func() []Project { return nil }
	}
	p := New(opts)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		store.Close()
	})
	return p
}

// lying is how many bytes of zips lie ahead.
func (p *Prefetch) lying() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.books.ahead()
}

func key(name string, kind cache.Kind) cache.Key {
	modPath, version, _ := strings.Cut("example.com/"+name, "@")
	return must(cache.NewKey(modPath, version, kind))
}

// goMod writes a go.mod with requirements "NAME@VERSION".
func goMod(name, goVersion string, requires ...string) string {
	modPath, _, _ := strings.Cut("example.com/"+name, "@")
	text := "module " + modPath + "\n"
	if goVersion != "" {
		text += "go " + goVersion + "\n"
	}
	for _, r := range requires {
		path, version, _ := strings.Cut(r, "@")
		text += "require example.com/" + path + " " + version + "\n"
	}
	return text
}

func origins(texts map[string]string) *origin {
	mods := make(map[string]string)
	for name, text := range texts {
		mods["example.com/"+name] = text
	}
	return &origin{mods: mods, zips: 1 << 20}
}

func TestRequirementsOfOldModulesAreWalked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origins(map[string]string{
			"a@v1.0.0": goMod("a@v1.0.0", "1.13", "b@v1.0.0"),
			"b@v1.0.0": goMod("b@v1.0.0", "1.20", "c@v1.0.0"), // reached from an old one: walked too
			"c@v1.0.0": goMod("c@v1.0.0", "1.20"),
		})
		p := rig(t, o, Options{Mode: Metadata})
		p.Asked(key("a@v1.0.0", cache.Mod), false)
		time.Sleep(10 * trip)
		got := o.log(".mod")
		if want := []string{"a/@v/v1.0.0.mod", "b/@v/v1.0.0.mod", "c/@v/v1.0.0.mod"}; !slices.Equal(got, want) {
			t.Errorf("fetched %q, want %q", got, want)
		}
	})
}

func TestOfLaterModulesTheHighestVersionIsGuessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origins(map[string]string{
			"a@v1.0.0": goMod("a@v1.0.0", "1.20", "x@v1.0.0", "y@v1.0.0"),
			"b@v1.0.0": goMod("b@v1.0.0", "1.20", "x@v1.2.0", "y@v0.9.0"),
			"x@v1.2.0": goMod("x@v1.2.0", "1.20", "deep@v1.0.0"),
			"y@v1.0.0": goMod("y@v1.0.0", "1.20"),
		})
		p := rig(t, o, Options{Mode: Metadata})
		p.Asked(key("a@v1.0.0", cache.Mod), false)
		time.Sleep(3 * trip)
		p.Asked(key("b@v1.0.0", cache.Mod), false)
		time.Sleep(10 * trip)
		got := o.log(".mod")
		for _, want := range []string{"x/@v/v1.2.0.mod", "y/@v/v1.0.0.mod"} {
			if !slices.Contains(got, want) {
				t.Errorf("%s was not fetched, only %q", want, got)
			}
		}
		for _, not := range []string{"y/@v/v0.9.0.mod", "deep/@v/v1.0.0.mod"} {
			if slices.Contains(got, not) {
				t.Errorf("%s was fetched, for which go does not ask", not)
			}
		}
	})
}

func TestZipsFollowTheFirstWaveInItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		texts := map[string]string{"old@v0.1.0": goMod("old@v0.1.0", "1.13")}
		var want []string
		for i := range 30 {
			name := fmt.Sprintf("m%02d@v1.0.0", i)
			texts[name] = goMod(name, "1.13", "old@v0.1.0")
			want = append(want, fmt.Sprintf("m%02d/@v/v1.0.0.zip", i))
		}
		o := origins(texts)
		p := rig(t, o, Options{})
		for i := range 30 {
			p.Asked(key(fmt.Sprintf("m%02d@v1.0.0", i), cache.Mod), false)
		}
		// Sorts before all of the wave: a requirement of a requirement. Its zip is never asked for.
		p.Asked(key("a@v0.1.0", cache.Mod), true)
		time.Sleep(20 * trip)
		// Up to here it could be go list -m.
		if got := len(o.log(".zip")); got < 4 || got > 4+zipSlots {
			t.Errorf("%d zips of 1 MiB fetched before any is asked for, want 4 and few more", got)
		}
		p.Asked(key("m00@v1.0.0", cache.Zip), true)
		time.Sleep(60 * trip)
		got := o.log(".zip")
		for begun := range slices.Chunk(got, zipSlots) { // at the same time
			slices.Sort(begun)
		}
		if !slices.Equal(got, want) {
			t.Errorf("zips fetched: %q, want %q", got, want)
		}
		if o.most != zipSlots {
			t.Errorf("%d zips at once, want %d", o.most, zipSlots)
		}
		if got := len(o.log(".info")); got != 30 {
			t.Errorf("%d .info fetched, want 30", got)
		}
	})
}

func TestASupersededVersionIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origins(map[string]string{
			"a@v1.0.0": goMod("a@v1.0.0", "1.13", "b@v2.0.0+incompatible"),
			"b@v1.0.0": goMod("b@v1.0.0", "1.13"),
		})
		p := rig(t, o, Options{})
		p.Asked(key("a@v1.0.0", cache.Mod), false)
		time.Sleep(3 * trip)
		p.Asked(key("b@v1.0.0", cache.Mod), false)
		time.Sleep(3 * trip)
		if got := o.log("b/@v/v1.0.0.zip"); len(got) != 0 {
			t.Errorf("fetched %q although a higher version is required", got)
		}
	})
}

func TestAZipBringsItsSiblings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origins(map[string]string{"a@v1.0.0": goMod("a@v1.0.0", "1.20", "b@v1.0.0")})
		p := rig(t, o, Options{})
		p.Asked(key("a@v1.0.0", cache.Zip), false)
		time.Sleep(5 * trip)
		got := o.log("")
		slices.Sort(got)
		if want := []string{"a/@v/v1.0.0.info", "a/@v/v1.0.0.mod"}; !slices.Equal(got, want) {
			t.Errorf("fetched %q, want %q", got, want)
		}
	})
}

func TestNothingIsFetchedFor(t *testing.T) {
	mods := map[string]string{
		"a@v1.0.0": goMod("a@v1.0.0", "1.13", "secret@v1.0.0"),
	}
	private := func(modPath string) bool { return modPath == "example.com/secret" }
	var declared atomic.Bool
	tests := []struct {
		name string
		opts Options
		ask  func(*Prefetch)
		want []string
	}{
		{"a warm cache", Options{}, func(p *Prefetch) { p.Asked(key("a@v1.0.0", cache.Mod), true) }, nil},
		{"mode off", Options{Mode: Off}, func(p *Prefetch) { p.Asked(key("a@v1.0.0", cache.Mod), false) }, nil},
		{"private modules", Options{Private: private}, func(p *Prefetch) {
			p.Asked(key("secret@v1.0.0", cache.Mod), false)
			p.Asked(key("secret@v1.0.0", cache.Zip), false)
		}, nil},
		{"private requirements", Options{Mode: Metadata, Private: private}, func(p *Prefetch) {
			p.Asked(key("a@v1.0.0", cache.Mod), false)
		}, []string{"a/@v/v1.0.0.info", "a/@v/v1.0.0.mod"}},
		{"requirements of what becomes private", Options{Mode: Metadata, Private: func(modPath string) bool { return declared.Load() && strings.HasSuffix(modPath, "/a") }}, func(p *Prefetch) {
			p.Asked(key("a@v1.0.0", cache.Mod), false)
			synctest.Wait() // its answer is on the way
			declared.Store(true)
		}, []string{"a/@v/v1.0.0.info", "a/@v/v1.0.0.mod"}},
		{"versions that are looked at", Options{}, func(p *Prefetch) { // go list -m -u
			p.Asked(key("a@", cache.List), false)
			p.Asked(key("a@v1.0.0", cache.Mod), true)
			p.Asked(key("a@v1.0.0", cache.Info), false)
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := origins(mods)
				p := rig(t, o, test.opts)
				test.ask(p)
				time.Sleep(10 * trip)
				got := o.log("")
				slices.Sort(got)
				if !slices.Equal(got, test.want) {
					t.Errorf("fetched %q, want %q", got, test.want)
				}
			})
		})
	}
}

// TestRequirementsOfWhatDirectDeliveredAreLeftAlone has a company's module for whose host
// there is no pattern.
func TestRequirementsOfWhatDirectDeliveredAreLeftAlone(t *testing.T) {
	for from, want := range map[string]int{upstream.DirectName: 0, "https://proxy.example": 1} {
		synctest.Test(t, func(t *testing.T) {
			o := origins(map[string]string{"a@v1.0.0": goMod("a@v1.0.0", "1.13", "b@v1.0.0")})
			o.from = from
			p := rig(t, o, Options{})
			p.Asked(key("a@v1.0.0", cache.Mod), false)
			time.Sleep(5 * trip)
			if got := o.log("b/@v/v1.0.0.mod"); len(got) != want {
				t.Errorf("from %s: fetched %q, want %d", from, got, want)
			}
		})
	}
}

func TestTheProjectOfTheCommandIsFetched(t *testing.T) {
	version := func(name string) module.Version { return key(name, cache.Mod).Module() }
	project := Project{
		Requires: []module.Version{version("a@v1.0.0"), version("b@v1.0.0"), version("secret@v1.0.0")},
		Sums:     modSums("a@v1.0.0", "b@v1.0.0", "c@v0.1.0", "secret@v1.0.0"),
		Zips:     true,
	}
	other := Project{Requires: []module.Version{version("z@v1.0.0")}, Zips: true}
	mods := map[string]string{}
	for _, name := range []string{"b@v1.0.0", "c@v0.1.0", "z@v1.0.0", "secret@v1.0.0"} {
		mods[name] = goMod(name, "1.20")
	}
	mods["a@v1.0.0"] = goMod("a@v1.0.0", "1.20", "b@v0.9.0", "c@v0.1.0") // b's version is the project's to say
	tests := []struct {
		name string
		ask  cache.Kind
		zips bool
		want []string
	}{
		{"go mod download", cache.Mod, true, []string{"a.info", "a.mod", "a.zip", "b.info", "b.mod", "b.zip", "c.mod"}},
		{"go build", cache.Zip, true, []string{"a.info", "a.mod", "b.info", "b.mod", "b.zip"}},
		{"go mod graph", cache.Mod, false, []string{"a.info", "a.mod", "b.mod", "c.mod"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := origins(mods)
				project := project
				project.Zips = test.zips
				p := rig(t, o, Options{Projects: func() []Project { return []Project{other, project} }})
				p.Asked(key("a@v1.0.0", test.ask), false)
				time.Sleep(20 * trip)
				got := o.log("")
				for i, name := range got {
					got[i] = name[:1] + name[strings.LastIndex(name, "."):]
				}
				slices.Sort(got)
				if !slices.Equal(got, test.want) {
					t.Errorf("fetched %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestTheBudgetBoundsWhatNobodyAsksFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		texts := map[string]string{}
		for i := range 20 {
			name := fmt.Sprintf("m%02d@v1.0.0", i)
			texts[name] = goMod(name, "1.20")
		}
		o := origins(texts)
		p := rig(t, o, Options{Budget: 4 << 20})
		for i := range 20 {
			p.Asked(key(fmt.Sprintf("m%02d@v1.0.0", i), cache.Mod), false)
		}
		time.Sleep(20 * trip)
		// Those that were on their way when the budget was used up may land.
		if got := len(o.log(".zip")); got < 4 || got > 4+zipSlots {
			t.Errorf("%d zips of 1 MiB fetched, want 4 and few more", got)
		}
		before := len(o.log(".zip"))
		p.Asked(key("m00@v1.0.0", cache.Zip), true)
		p.Asked(key("m01@v1.0.0", cache.Zip), true)
		p.Asked(key("m02@v1.0.0", cache.Zip), true)
		p.Asked(key("m03@v1.0.0", cache.Zip), true)
		time.Sleep(20 * trip)
		if got := len(o.log(".zip")); got <= before {
			t.Errorf("no zip fetched after a client asked for four")
		}
	})
}

// TestALargeZipIsNoneOfTheBudget has upstreams tell the length of a zip before it flows.
func TestALargeZipIsNoneOfTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		texts := map[string]string{}
		sizes := map[cache.Key]int64{}
		var project Project
		for i, size := range []int64{2, 400, 2, 7, 7, 1} {
			name := fmt.Sprintf("m%02d@v1.0.0", i)
			texts[name] = goMod(name, "1.20")
			sizes[key(name, cache.Zip)] = size << 20
			project.Requires = append(project.Requires, key(name, cache.Mod).Module())
		}
		project.Zips = true
		o := origins(texts)
		o.sizes = sizes
		p := rig(t, o, Options{Budget: 16 << 20, Projects: func() []Project { return []Project{project} }})
		ask := func(i int, kind cache.Kind) { p.Asked(key(fmt.Sprintf("m%02d@v1.0.0", i), kind), kind == cache.Zip) }
		for i := range 6 {
			ask(i, cache.Mod)
		}
		time.Sleep(20 * trip)
		// The second of 7 MiB has no room, and waits; the small one has.
		if got := p.Stats(); p.lying() != 12<<20 || got.FetchedBytes-got.FetchedBytes%(1<<20) != 12<<20 {
			t.Errorf("%d bytes lie ahead, %+v; want 12 MiB", p.lying(), got)
		}
		if got := len(o.log(".zip")); got != 6 {
			t.Errorf("%d zips begun, want each once: %q", got, o.log(".zip"))
		}
		ask(0, cache.Zip)
		ask(2, cache.Zip)
		time.Sleep(20 * trip)
		if got := o.log("m04/@v/v1.0.0.zip"); len(got) != 2 {
			t.Errorf("the zip that waited for room was begun %d times, want 2", len(got))
		}
		if got := o.log("m01/@v/v1.0.0.zip"); len(got) != 1 {
			t.Errorf("the zip that never has room was begun %d times, want once", len(got))
		}
		if got := p.lying(); got != 15<<20 {
			t.Errorf("%d bytes lie ahead, want 15 MiB", got)
		}
	})
}

func TestABuildFetchesWhatIsImportedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mods := map[string]string{}
		var project Project
		project.Zips = true
		var indirect []string
		for i := range 20 {
			name := fmt.Sprintf("m%02d@v1.0.0", i)
			mods[name] = goMod(name, "1.20")
			project.Requires = append(project.Requires, key(name, cache.Mod).Module())
			if i > 0 && i < 19 {
				indirect = append(indirect, name+" // indirect")
			}
		}
		mods["m00@v1.0.0"] = goMod("m00@v1.0.0", "1.20", append(indirect, "m19@v1.0.0")...)
		o := origins(mods)
		p := rig(t, o, Options{Projects: func() []Project { return []Project{project} }})
		answered := p.Asked(key("m00@v1.0.0", cache.Zip), false)
		joined := p.Asked(key("m00@v1.0.0", cache.Zip), false)
		time.Sleep(30 * trip)
		got := o.log(".zip")
		// Zips are 1 MiB: the budget of a build that has had nothing yet is 4 of them.
		if len(got) < 4 || !slices.Contains(got[:zipSlots], "m19/@v/v1.0.0.zip") || len(got) > 4+zipSlots {
			t.Errorf("zips fetched: %q, want that of the direct requirement among the first and few others", got)
		}
		answered(4 * buildShare << 20) // worth four more
		joined(4 * buildShare << 20)   // which is the same once more
		time.Sleep(30 * trip)
		if more := o.log(".zip"); len(more) < 8 || len(more) > 8+zipSlots {
			t.Errorf("%d zips fetched once it has had 16 MiB, want 8 and no more than its slots", len(more))
		}
	})
}

// TestAGetFetchesFewOfTheGraph reads all of it, as go mod download does.
func TestAGetFetchesFewOfTheGraph(t *testing.T) {
	for _, few := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			mods := map[string]string{}
			project := Project{Zips: true, Few: few}
			for i := range 20 {
				name := fmt.Sprintf("m%02d@v1.0.0", i)
				mods[name] = goMod(name, "1.20")
				project.Requires = append(project.Requires, key(name, cache.Mod).Module())
			}
			o := origins(mods)
			p := rig(t, o, Options{Projects: func() []Project { return []Project{project} }})
			for i := range 20 {
				p.Asked(key(fmt.Sprintf("m%02d@v1.0.0", i), cache.Mod), false)
			}
			p.Asked(key("z@v1.0.0", cache.Zip), false)(100 << 20) // which tells nothing of the others
			time.Sleep(60 * trip)
			if got := len(o.log(".zip")); few != (got <= 4+zipSlots) || got == 0 {
				t.Errorf("few %t: %d zips fetched", few, got)
			}
		})
	}
}

func TestAHostileGraphIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Each module requires 100 more, to the depth that its name has.
		mods := map[string]string{}
		var grow func(name string, depth int)
		grow = func(name string, depth int) {
			var requires []string
			for i := 0; depth > 0 && i < 100; i++ {
				child := fmt.Sprintf("%sx%d", name, i)
				requires = append(requires, child+"@v1.0.0")
				if i == 0 {
					grow(child, depth-1)
				}
			}
			mods[name+"@v1.0.0"] = goMod(name, "1.13", requires...)
		}
		grow("a", 200)
		o := origins(mods)
		p := rig(t, o, Options{Mode: Metadata})
		answered := p.Asked(key("a@v1.0.0", cache.Mod), false)
		time.Sleep(2000 * trip)
		if got := len(o.log("")); got > queueLimit {
			t.Errorf("%d fetches, want %d at most", got, queueLimit)
		}
		answered(0) // go is gone
		time.Sleep(quiet + time.Second)
		p.Asked(key("a@v1.0.0", cache.Mod), true)(0)
		time.Sleep(quiet + 2*trip)
		before := len(o.log(""))
		time.Sleep(100 * trip)
		if got := len(o.log("")); got != before {
			t.Errorf("%d fetches more with nobody there", got-before)
		}
	})
}

func TestAStuckFolderHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origins(map[string]string{"a@v1.0.0": goMod("a@v1.0.0", "1.20"), "b@v1.0.0": goMod("b@v1.0.0", "1.20")})
		forever := make(chan struct{})
		defer close(forever)
		p := rig(t, o, Options{Projects: func() []Project { <-forever; return nil }})
		p.Asked(key("a@v1.0.0", cache.Mod), false)
		p.Asked(key("b@v1.0.0", cache.Mod), false)
		time.Sleep(lookTime + 5*trip)
		if got := len(o.log(".zip")); got != 2 {
			t.Errorf("%d zips fetched, want 2", got)
		}
	})
}

// TestAnInterruptedPullLeaksNoBudget has go mod download begun, ended and begun again.
func TestAnInterruptedPullLeaksNoBudget(t *testing.T) {
	pause := map[string]time.Duration{
		"the zips have landed":      quiet + time.Second,
		"a zip is still on its way": 0, // and longer than quiet, see below
	}
	for name, pause := range pause {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := origins(map[string]string{"a@v1.0.0": goMod("a@v1.0.0", "1.20"), "b@v1.0.0": goMod("b@v1.0.0", "1.20")})
				o.holds = true
				p := rig(t, o, Options{})
				for range 5 {
					if pause == 0 {
						o.setTrip(quiet + 2*time.Second)
					}
					p.Asked(key("a@v1.0.0", cache.Mod), false)(0)
					p.Asked(key("b@v1.0.0", cache.Mod), false)(0)
					time.Sleep(quiet + time.Second)
				}
				time.Sleep(2 * quiet)
				got := p.Stats()
				if got.Fetched != 4 || got.FetchedBytes <= 2<<20 {
					t.Errorf("after five pulls of two modules: %+v, want each file fetched once", got)
				}
				if p.lying() != 2<<20 {
					t.Errorf("%d bytes lie ahead, want those of 2 zips", p.lying())
				}
				p.Asked(key("a@v1.0.0", cache.Zip), true)(0)
				p.Asked(key("b@v1.0.0", cache.Zip), true)(0)
				if got := p.Stats(); p.lying() != 0 || got.Used != 2 {
					t.Errorf("%d bytes lie ahead once a client has asked for both, %+v", p.lying(), got)
				}
			})
		})
	}
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origins(map[string]string{
			"a@v1.0.0": goMod("a@v1.0.0", "1.20"),
			"b@v1.0.0": goMod("b@v1.0.0", "1.20"),
		})
		p := rig(t, o, Options{})
		p.Asked(key("a@v1.0.0", cache.Mod), false)
		p.Asked(key("b@v1.0.0", cache.Mod), false)
		time.Sleep(trip / 2)
		p.Asked(key("a@v1.0.0", cache.Zip), false) // on its way
		time.Sleep(5 * trip)
		p.Asked(key("b@v1.0.0", cache.Zip), true) // there
		got := p.Stats()
		// Two .info and two zips; the .mod files were the client's own.
		if got.Fetched != 4 || got.Used != 2 || got.UsedBytes != 2<<20 || got.Joined != 1 || got.Ready != 1 || got.Wasted != 0 {
			t.Errorf("after the pull: %+v", got)
		}
		time.Sleep(wasteAfter + time.Minute)
		if got := p.Stats(); got.Wasted != 2 || got.FetchedBytes != got.UsedBytes+got.WastedBytes {
			t.Errorf("ten minutes later: %+v", got)
		}
	})
}

func TestAFetchThatFailsHarmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origins(nil)
		p := rig(t, o, Options{})
		p.Asked(key("a@v1.0.0", cache.Mod), false)
		time.Sleep(5 * trip)
		if got := p.Stats(); got != (Stats{}) {
			t.Errorf("stats are %+v, want none", got)
		}
		if _, err := o.Get(t.Context(), key("a@v1.0.0", cache.Mod)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the origin says %v", err)
		}
	})
}

// TestWhatGoWantsNextDoesNotQueue has every slot wait for the .mod of a requirement while
// go asks for a zip, whose .mod and .info are next.
func TestWhatGoWantsNextDoesNotQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requires []string
		mods := map[string]string{"z@v1.0.0": goMod("z", "1.20")}
		for i := range 2 * modSlots {
			name := fmt.Sprintf("m%02d@v1.0.0", i)
			mods[name] = goMod(name, "1.16")
			requires = append(requires, name)
		}
		mods["a@v1.0.0"] = goMod("a", "1.16", requires...)
		o := origins(mods)
		p := rig(t, o, Options{})
		p.Asked(key("a@v1.0.0", cache.Mod), false)
		time.Sleep(trip + trip/2) // a's requirements are on their way
		p.Asked(key("z@v1.0.0", cache.Zip), false)
		synctest.Wait()
		if got := o.log(".mod"); !slices.Contains(got, "z/@v/v1.0.0.mod") {
			t.Errorf("asked: %q, want the .mod beside the zip at once", got)
		}
	})
}
