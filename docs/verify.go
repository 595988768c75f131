// Verifies an exported log with golang.org/x/mod/sumdb: checkpoint, every tile, every entry, receipts, consistency.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type dirTiles struct{ dir string }

func path(t tlog.Tile) string { // tile/8/L/N -> tile/L/N
	return strings.Replace(t.Path(), "tile/8/", "tile/", 1)
}
func (d dirTiles) Height() int { return 8 }
func (d dirTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, t := range tiles {
		b, err := os.ReadFile(filepath.Join(d.dir, path(t)))
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}
func (d dirTiles) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

var failures int

func fail(f string, a ...any) { failures++; fmt.Printf("FAIL "+f+"\n", a...) }

// C2SP checkpoint: origin, size, root
func open(b []byte, v note.Verifiers) (tlog.Tree, string, error) {
	n, err := note.Open(b, v)
	if err != nil {
		return tlog.Tree{}, "", err
	}
	l := strings.Split(n.Text, "\n")
	if len(l) != 4 || l[3] != "" {
		return tlog.Tree{}, "", fmt.Errorf("checkpoint has %d lines", len(l))
	}
	var t tlog.Tree
	if _, err := fmt.Sscanf(l[1], "%d", &t.N); err != nil {
		return t, "", err
	}
	h, err := tlog.ParseHash(l[2])
	t.Hash = h
	return t, l[0], err
}

func main() {
	dir, vkeyFile := os.Args[1], os.Args[2]
	vk, err := os.ReadFile(vkeyFile)
	if err != nil {
		panic(err)
	}
	var vs []note.Verifier
	for _, l := range strings.Fields(string(vk)) {
		v, err := note.NewVerifier(l)
		if err != nil {
			panic(err)
		}
		vs = append(vs, v)
	}
	verifiers := note.VerifierList(vs...)
	cp, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		panic(err)
	}
	tree, origin, err := open(cp, verifiers)
	if err != nil {
		fail("checkpoint: %v", err)
		os.Exit(1)
	}
	fmt.Printf("checkpoint of %s: size %d root %s\n", origin, tree.N, tree.Hash)

	// Every leaf hash, authenticated by the tiles above it up to the root.
	hr := tlog.TileHashReader(tree, dirTiles{dir})
	checked, leaves := 0, int64(0)
	for n := int64(0); n*256 < tree.N; n++ {
		w := tree.N - n*256
		name := fmt.Sprintf("tile/entries/%s", strings.TrimPrefix(path(tlog.Tile{H: 8, L: 0, N: n, W: 256}), "tile/0/"))
		if w >= 256 {
			w = 256
		} else {
			name += fmt.Sprintf(".p/%d", w)
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			fail("%s: %v", name, err)
			continue
		}
		var idx []int64
		for i := int64(0); i < w; i++ {
			idx = append(idx, tlog.StoredHashIndex(0, n*256+i))
		}
		hs, err := hr.ReadHashes(idx)
		if err != nil {
			fail("tile/0 number %d: %v", n, err)
			continue
		}
		for i := int64(0); i < w; i++ {
			if len(b) < 2 {
				fail("%s ends before entry %d", name, n*256+i)
				break
			}
			l := int(binary.BigEndian.Uint16(b))
			if len(b) < 2+l {
				fail("%s: entry %d cut", name, n*256+i)
				break
			}
			if tlog.RecordHash(b[2:2+l]) != hs[i] {
				fail("%s: entry %d is not what the tree says", name, n*256+i)
			}
			leaves++
			b = b[2+l:]
		}
		if len(b) != 0 {
			fail("%s: %d octets too many", name, len(b))
		}
		checked++
	}
	// Every tile of every level as a whole file.
	tiles := 0
	for lvl := 0; ; lvl++ {
		nodes := tree.N >> uint(8*lvl)
		if nodes == 0 {
			break
		}
		for n := int64(0); n*256 < nodes; n++ {
			w := nodes - n*256
			if w > 256 {
				w = 256
			}
			t := tlog.Tile{H: 8, L: lvl, N: n, W: int(w)}
			b, err := os.ReadFile(filepath.Join(dir, path(t)))
			if err != nil {
				fail("%s: %v", path(t), err)
				continue
			}
			want, err := tlog.ReadTileData(t, hr)
			if err != nil {
				fail("%s: %v", path(t), err)
				continue
			}
			if string(want) != string(b) {
				fail("%s differs", path(t))
			}
			tiles++
		}
	}
	fmt.Printf("%d entries in %d bundles, %d tiles checked\n", leaves, checked, tiles)

	for _, f := range os.Args[3:] {
		b, err := os.ReadFile(f)
		if err != nil {
			panic(err)
		}
		if strings.HasSuffix(f, ".json") {
			var r struct {
				Log   string
				Index int64
				Leaf  string
				Proof string
			}
			if err := json.Unmarshal(b, &r); err != nil {
				fail("%s: %v", f, err)
				continue
			}
			leaf, _ := base64.StdEncoding.DecodeString(r.Leaf)
			parts := strings.SplitN(r.Proof, "\n\n", 2)
			t, _, err := open([]byte(parts[1]), verifiers)
			if err != nil {
				fail("%s: %v", f, err)
				continue
			}
			var p tlog.RecordProof
			for _, l := range strings.Split(parts[0], "\n")[2:] {
				h, err := tlog.ParseHash(l)
				if err != nil {
					fail("%s: %v", f, err)
				}
				p = append(p, h)
			}
			if err := tlog.CheckRecord(p, t.N, t.Hash, r.Index, tlog.RecordHash(leaf)); err != nil {
				fail("%s: %v", f, err)
				continue
			}
			// and still at that place in the newest tree
			np, err := tlog.ProveRecord(tree.N, r.Index, hr)
			if err == nil {
				err = tlog.CheckRecord(np, tree.N, tree.Hash, r.Index, tlog.RecordHash(leaf))
			}
			if err != nil {
				fail("%s in the newest tree: %v", f, err)
				continue
			}
			fmt.Printf("receipt %s: entry %d in trees of %d and %d\n", filepath.Base(f), r.Index, t.N, tree.N)
		} else {
			t, _, err := open(b, verifiers)
			if err != nil {
				fail("%s: %v", f, err)
				continue
			}
			p, err := tlog.ProveTree(tree.N, t.N, hr)
			if err == nil {
				err = tlog.CheckTree(p, tree.N, tree.Hash, t.N, t.Hash)
			}
			if err != nil {
				fail("consistency %s: %v", f, err)
				continue
			}
			fmt.Printf("consistency %s: %d is a prefix of %d\n", filepath.Base(f), t.N, tree.N)
		}
	}
	if failures > 0 {
		fmt.Printf("%d failures\n", failures)
		os.Exit(1)
	}
	fmt.Println("all verified")
}
