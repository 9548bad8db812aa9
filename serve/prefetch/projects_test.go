package prefetch

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/cache"
)

// modSums are the lines of a go.sum that knows the .mod files of versions.
func modSums(names ...string) []Sum {
	var sums []Sum
	for _, mod := range versions(names...) {
		sums = append(sums, Sum{module.Version{Path: mod.Path, Version: mod.Version + "/go.mod"}, "h1:of " + mod.Path})
	}
	return sums
}

func versions(names ...string) []module.Version {
	var mods []module.Version
	for _, name := range names {
		mods = append(mods, key(name, cache.Mod).Module())
	}
	return mods
}

// kinds is log with names as short as "a.zip", sorted.
func (o *origin) kinds(suffix string) []string {
	var short []string
	for _, name := range o.log(suffix) {
		modPath, file, _ := strings.Cut(name, "/@v/")
		short = append(short, modPath+file[strings.LastIndex(file, "."):])
	}
	slices.Sort(short)
	return short
}

// library are modules without requirements.
func library(names ...string) *origin {
	texts := make(map[string]string)
	for _, name := range names {
		texts[name] = goMod(name, "1.20")
	}
	return origins(texts)
}

// TestTwoProjectsAreFetched has a second command begin soon after the first, or beside it.
func TestTwoProjectsAreFetched(t *testing.T) {
	first := Project{Dir: "/first", Requires: versions("a@v1.0.0", "b@v1.0.0"), Sums: modSums("a@v1.0.0", "b@v1.0.0"), Zips: true}
	second := Project{Dir: "/second", Requires: versions("m@v1.0.0", "n@v1.0.0"), Sums: modSums("m@v1.0.0", "n@v1.0.0"), Zips: true}
	for name, beside := range map[string]bool{"one after the other": false, "side by side": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := library("a@v1.0.0", "b@v1.0.0", "m@v1.0.0", "n@v1.0.0")
				var running atomic.Pointer[[]Project]
				running.Store(&[]Project{first})
				p := rig(t, o, Options{Projects: func() []Project { return *running.Load() }})
				p.Asked(key("a@v1.0.0", cache.Mod), false)(0)
				time.Sleep(10 * trip)
				p.Asked(key("b@v1.0.0", cache.Mod), true)(0)
				p.Asked(key("a@v1.0.0", cache.Zip), true)(0)
				if beside {
					running.Store(&[]Project{first, second})
				} else {
					running.Store(&[]Project{second})
				}
				p.Asked(key("m@v1.0.0", cache.Mod), false)(0)
				time.Sleep(10 * trip)
				p.Asked(key("n@v1.0.0", cache.Mod), false)(0)
				time.Sleep(10 * trip)
				got := o.kinds("")
				for _, want := range []string{"m.info", "m.zip", "n.info", "n.zip"} {
					if !slices.Contains(got, want) {
						t.Errorf("%s was not fetched, only %q", want, got)
					}
				}
			})
		})
	}
}

// TestASecondCommandIsFetchedForWithoutItsProject is for other systems.
func TestASecondCommandIsFetchedForWithoutItsProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for _, set := range []string{"a", "m"} { // the second sorts after the first
			for i := range 12 {
				names = append(names, fmt.Sprintf("%s%02d@v1.0.0", set, i))
			}
		}
		names = append(names, "a@v1.0.0") // ends the wave
		o := library(names...)
		p := rig(t, o, Options{})
		download := func(names []string) {
			for _, kind := range []cache.Kind{cache.Mod, cache.Info, cache.Zip} {
				for _, name := range names {
					if kind == cache.Mod || !strings.HasPrefix(name, "a@") {
						p.Asked(key(name, kind), false)(0)
					}
				}
				time.Sleep(5 * trip)
			}
		}
		download(append(slices.Clone(names[:12]), "a@v1.0.0"))
		before := len(o.log(".info"))
		for _, name := range names[12:24] {
			p.Asked(key(name, cache.Mod), false)(0)
		}
		time.Sleep(5 * trip)
		if got := len(o.log(".info")) - before; got != 12 {
			t.Errorf("%d .info fetched for the second command, want 12", got)
		}
		if got := len(slices.DeleteFunc(o.log(".zip"), func(name string) bool { return name[0] != 'm' })); got < 4 {
			t.Errorf("%d zips fetched for the second command, want 4 or more", got)
		}
	})
}

func TestZipsAreWantedOnceAnyCommandWantsThem(t *testing.T) {
	project := Project{Dir: "/p", Requires: versions("a@v1.0.0", "b@v1.0.0", "c@v1.0.0"), Sums: modSums("a@v1.0.0", "b@v1.0.0", "c@v1.0.0")}
	tests := map[string]func(p *Prefetch, zips *atomic.Bool){
		"go list -m, then go mod download that has all .info": func(p *Prefetch, _ *atomic.Bool) {
			p.Asked(key("a@v1.0.0", cache.Zip), false)(0)
		},
		"go list -m, and go mod download beside it": func(p *Prefetch, zips *atomic.Bool) {
			zips.Store(true)
			time.Sleep(lookLater)
			p.Asked(key("b@v1.0.0", cache.Mod), false)(0)
		},
	}
	for name, next := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := library("a@v1.0.0", "b@v1.0.0", "c@v1.0.0")
				var zips atomic.Bool
				p := rig(t, o, Options{Projects: func() []Project {
					project := project
					project.Zips = zips.Load()
					return []Project{project}
				}})
				for _, name := range []string{"a@v1.0.0", "c@v1.0.0"} {
					p.Asked(key(name, cache.Mod), false)(0)
				}
				time.Sleep(10 * trip)
				if got := o.log(".zip"); len(got) > 0 {
					t.Errorf("go list -m: fetched %q", got)
				}
				next(p, &zips)
				time.Sleep(10 * trip)
				if got := o.kinds(".zip"); !slices.Contains(got, "c.zip") {
					t.Errorf("zips fetched: %q, want c.zip among them", got)
				}
			})
		})
	}
}

// TestAnotherProjectsPatternsStay has a command end whose shell keeps a module secret: a
// .mod that is fetched for it yet must not name it.
func TestAnotherProjectsPatternsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := library("b@v1.0.0", "secret@v1.0.0")
		o.mods["example.com/a@v1.0.0"] = goMod("a@v1.0.0", "1.13", "secret@v1.0.0")
		o.mods["example.com/z@v1.0.0"] = goMod("z@v1.0.0", "1.13", "secret@v1.0.0")
		var running atomic.Pointer[[]Project]
		running.Store(&[]Project{{Dir: "/a", Requires: versions("b@v1.0.0"), Private: []string{"example.com/secret"}}})
		p := rig(t, o, Options{Projects: func() []Project { return *running.Load() }})
		p.Asked(key("b@v1.0.0", cache.Mod), false)(0)
		time.Sleep(5 * trip)
		running.Store(new([]Project))
		for range 2 {
			p.Asked(key("z@v1.0.0", cache.Mod), false)(0)
			time.Sleep(5 * trip)
			p.Asked(key("a@v1.0.0", cache.Mod), false)(0)
			time.Sleep(lookLater)
		}
		if got := o.log("secret/@v/v1.0.0.mod"); len(got) > 0 {
			t.Errorf("fetched %q", got)
		}
	})
}

// TestIndirectRequirementsOfOldProjects has a main module of before Go 1.17, whose go.sum
// alone names what its requirements require.
func TestIndirectRequirementsOfOldProjects(t *testing.T) {
	tests := []struct {
		name string
		sums bool
		ask  []cache.Key // after the .mod of a
		want string
	}{
		{"by go.sum", true, nil, "c.info c.mod c.zip"},
		{"by what go asks for", false, []cache.Key{key("c@v1.0.0", cache.Mod), key("c@v1.0.0", cache.Info)}, "c.mod c.zip"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := library("b@v0.9.0", "c@v1.0.0")
				o.mods["example.com/b@v1.0.0"] = goMod("b@v1.0.0", "1.13", "c@v1.0.0")
				project := Project{Dir: "/p", Old: true, Zips: true, Requires: versions("b@v1.0.0")}
				if test.sums {
					project.Sums = modSums("b@v1.0.0", "b@v0.9.0", "c@v1.0.0")
					project.Zipped = versions("b@v1.0.0", "c@v1.0.0")
				}
				p := rig(t, o, Options{Projects: func() []Project { return []Project{project} }})
				p.Asked(key("b@v1.0.0", cache.Mod), false)
				time.Sleep(10 * trip)
				for _, k := range test.ask {
					// The wave of the main module's own must not take it for one of them.
					p.mu.Lock()
					p.plan.roots.over = true
					p.mu.Unlock()
					p.Asked(k, false)
				}
				time.Sleep(10 * trip)
				got := slices.DeleteFunc(o.kinds(""), func(name string) bool { return name[0] != 'c' })
				if strings.Join(got, " ") != test.want {
					t.Errorf("fetched %q of the module that is required indirectly, want %s", got, test.want)
				}
			})
		})
	}
}

// TestAPullWithoutEndIsBounded has a language server ask for something every second.
func TestAPullWithoutEndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origins(nil)
		p := rig(t, o, Options{Mode: Metadata})
		name := func(i int) string { return fmt.Sprintf("m%06d@v1.0.0", i) }
		const each = 5 // .mod and .info: below queueLimit in a span
		for i := range 3 * queueLimit / each {
			for n := range each {
				p.Asked(key(name(each*i+n), cache.Zip), false)(0)
				p.Asked(key(name(each*i+n), cache.List), false)(0)
			}
			time.Sleep(time.Second)
		}
		p.mu.Lock()
		plan := p.plan
		for what, n := range map[string]int{
			"wanted": plan.wanted.len() + len(plan.wanted.old), "listed": plan.listed.len() + len(plan.listed.old),
			"public": plan.public.len() + len(plan.public.old), "queued": plan.queue.queued.len() + len(plan.queue.queued.old),
		} {
			if most := 2 * 2 * each * int(span/time.Second); n > most {
				t.Errorf("%d keys are remembered as %s, want %d at most", n, what, most)
			}
		}
		p.mu.Unlock()
		before := len(o.log(".mod"))
		p.Asked(key("last@v1.0.0", cache.Zip), false)(0)
		time.Sleep(5 * trip)
		if got := len(o.log(".mod")) - before; got != 1 {
			t.Errorf("%d .mod fetched for the last zip, want 1", got)
		}
	})
}

// TestTheGraphAfterTheZips has go mod tidy, whose project is not known, read old versions
// of what it has: they are no requirements of the main module.
func TestTheGraphAfterTheZips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := library("a@v1.0.0", "b@v1.1.0", "b@v1.0.0", "c@v1.1.0", "c@v1.0.0")
		o.mods["example.com/a@v1.0.0"] = goMod("a@v1.0.0", "1.21", "b@v1.0.0", "c@v1.0.0")
		p := rig(t, o, Options{})
		for _, name := range []string{"a@v1.0.0", "b@v1.1.0", "c@v1.1.0"} {
			p.Asked(key(name, cache.Zip), false)(0)
			time.Sleep(5 * trip)
		}
		for _, name := range []string{"b@v1.0.0", "c@v1.0.0"} {
			p.Asked(key(name, cache.Mod), false)(0)
			time.Sleep(5 * trip)
		}
		if got := o.log("v1.0.0.zip"); len(got) > 0 {
			t.Errorf("fetched %q", got)
		}
	})
}

// TestNobodyIsWokenForNothing tells workers of as much as there is to do.
func TestNobodyIsWokenForNothing(t *testing.T) {
	p := New(Options{}) // nobody works
	told := func() []int { return []int{len(p.news[modLane]), len(p.news[zipLane]), len(p.news[lookLane])} }
	for i := range 100 {
		p.Asked(key(fmt.Sprintf("m%d@v1.0.0", i), cache.Mod), true)(0)
	}
	if got := told(); !slices.Equal(got, []int{0, 0, 0}) {
		t.Errorf("for what is held %v were told, want nobody", got)
	}
	p.plan = newPlan(p.opts, p.opts.Now(), 0)
	p.Asked(key("a@v1.0.0", cache.Mod), false)(0)
	if got := told(); !slices.Equal(got, []int{2, 1, 1}) { // .mod, .info, .zip and the project
		t.Errorf("for a .mod %v were told, want 2, 1 and 1", got)
	}
}

// TestVouches goes by the go.sum of projects in which go asks now.
func TestVouches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		project := Project{Dir: "/p", Requires: versions("a@v1.0.0"), Sums: modSums("a@v1.0.0", "b@v1.0.0")}
		other := Project{Dir: "/q", Requires: versions("z@v1.0.0"), Sums: modSums("z@v1.0.0")}
		running := []Project{project, other}
		p := rig(t, origins(map[string]string{"a@v1.0.0": goMod("a", "1.20")}), Options{Projects: func() []Project { return running }})
		of := func(sum Sum) bool { return p.Vouches(sum.Version, sum.H1) }
		if of(project.Sums[0]) {
			t.Error("vouched for before anybody asked")
		}
		p.Asked(key("a@v1.0.0", cache.Mod), false)(0)
		time.Sleep(trip)
		wrong := project.Sums[1]
		wrong.H1 += "x"
		for sum, want := range map[Sum]bool{project.Sums[0]: true, project.Sums[1]: true, wrong: false, other.Sums[0]: false} {
			if got := of(sum); got != want {
				t.Errorf("%v: vouched for is %v, want %v", sum, got, want)
			}
		}
		running = nil
		time.Sleep(2 * lookLater)
		p.Asked(key("c@v1.0.0", cache.Mod), false)(0)
		time.Sleep(trip)
		if of(project.Sums[0]) {
			t.Error("vouched for by a project that go has left")
		}
	})
}
