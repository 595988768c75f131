// Verifies an exported log with golang.org/x/mod/sumdb and Go's standard library:
//
//	go run verify.go <export> <file with verifier keys> [receipt.json | kept checkpoint]...
//
// It makes the tree from the entries alone and holds everything else against it: the signed root, each tile of each
// level, receipts, and checkpoints that were kept. What the entries say is not looked at. Memory: 64 octets an entry.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Tiles have 2^8 hashes.
const height, width = 8, 1 << 8

// stored is every hash of a tree, in the order of tlog.StoredHashIndex, made from the entries alone. tlog reads from it.
// (tlog.TileHashReader would need less memory, but does not authenticate each tile that it reads.)
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, index := range indexes {
		if index >= int64(len(s)) {
			return nil, errors.New("beyond the entries that could be read")
		}
		out = append(out, s[index])
	}
	return out, nil
}

// path is the place of a tile in the layout of C2SP tlog-tiles. tlog's own names have the height in them.
func path(t tlog.Tile) string {
	return strings.Replace(t.Path(), "tile/8/", "tile/", 1)
}

// bundlePath is the place of the entries whose hashes a tile of level 0 has.
func bundlePath(t tlog.Tile) string {
	return strings.Replace(path(t), "tile/0/", "tile/entries/", 1)
}

// open verifies a checkpoint (C2SP tlog-checkpoint): name, size, root, and a signature by one of the keys.
func open(octets []byte, keys note.Verifiers) (origin string, tree tlog.Tree, err error) {
	n, err := note.Open(octets, keys)
	if err != nil {
		return "", tree, err
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 {
		return "", tree, errors.New("not a checkpoint")
	}
	if n.Sigs[0].Name != lines[0] {
		return "", tree, fmt.Errorf("%q is signed by a key of %q", lines[0], n.Sigs[0].Name)
	}
	tree.N, err = strconv.ParseInt(lines[1], 10, 64)
	if err != nil || tree.N < 0 || strconv.FormatInt(tree.N, 10) != lines[1] {
		return "", tree, fmt.Errorf("%q is not a size", lines[1])
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	return lines[0], tree, err
}

// tilesOf gives the tiles of a level, the last one cut to what is there.
func tilesOf(level int, size int64) (tiles []tlog.Tile) {
	nodes := size >> (height * level)
	for first := int64(0); first < nodes; first += width {
		tile := tlog.Tile{H: height, L: level, N: first / width, W: width}
		if nodes-first < width {
			tile.W = int(nodes - first)
		}
		tiles = append(tiles, tile)
	}
	return tiles
}

// readBundle cuts a bundle into its entries, each behind two octets with its length, and adds their hashes to the tree.
func readBundle(dir string, tile tlog.Tile, tree *stored) error {
	octets, err := os.ReadFile(filepath.Join(dir, bundlePath(tile)))
	if err != nil {
		return err
	}
	for i := 0; i < tile.W; i++ {
		index := tile.N*width + int64(i)
		if len(octets) < 2 || len(octets)-2 < int(binary.BigEndian.Uint16(octets)) {
			return fmt.Errorf("cut off in entry %d", index)
		}
		end := 2 + int(binary.BigEndian.Uint16(octets))
		hashes, err := tlog.StoredHashes(index, octets[2:end], *tree)
		if err != nil {
			return err
		}
		*tree = append(*tree, hashes...)
		octets = octets[end:]
	}
	if len(octets) > 0 {
		return fmt.Errorf("%d octets too many", len(octets))
	}
	return nil
}

// checkTile compares a tile's file with the hashes that the entries have.
func checkTile(dir string, tile tlog.Tile, tree stored) error {
	want, err := tlog.ReadTileData(tile, tree)
	if err != nil {
		return err
	}
	is, err := os.ReadFile(filepath.Join(dir, path(tile)))
	if err != nil {
		return err
	}
	if len(is) != len(want) {
		return fmt.Errorf("has %d octets, not %d", len(is), len(want))
	}
	for i := 0; i < len(is); i += tlog.HashSize {
		if !bytes.Equal(is[i:i+tlog.HashSize], want[i:i+tlog.HashSize]) {
			return fmt.Errorf("hash %d is not the one that the entries give", i/tlog.HashSize)
		}
	}
	return nil
}

// checkReceipt verifies a receipt for itself, and that the tree still has its entry at its place.
func checkReceipt(octets []byte, keys note.Verifiers, now tlog.Tree, tree stored) (string, error) {
	type receipt struct {
		Log, Leaf, Proof string
		Index            int64
	}
	// A receipt, or an answer that has one.
	var answer struct {
		receipt
		Receipt *receipt
	}
	if err := json.Unmarshal(octets, &answer); err != nil {
		return "", err
	}
	r := answer.receipt
	if answer.Receipt != nil {
		r = *answer.Receipt
	}
	leaf, err := base64.StdEncoding.Strict().DecodeString(r.Leaf)
	if err != nil {
		return "", err
	}
	// C2SP tlog-proof: what it is, the index, the path's hashes, an empty line, and the checkpoint.
	head, checkpoint, _ := strings.Cut(r.Proof, "\n\n")
	lines := strings.Split(head, "\n")
	if len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" || lines[1] != fmt.Sprintf("index %d", r.Index) {
		return "", errors.New("not a proof of this index")
	}
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return "", err
		}
		proof = append(proof, hash)
	}
	origin, then, err := open([]byte(checkpoint), keys)
	if err != nil {
		return "", err
	}
	if origin != r.Log {
		return "", fmt.Errorf("of the log %q, its checkpoint is of %q", r.Log, origin)
	}
	if err := tlog.CheckRecord(proof, then.N, then.Hash, r.Index, tlog.RecordHash(leaf)); err != nil {
		return "", err
	}
	if r.Index >= now.N {
		return "", fmt.Errorf("entry %d, and the log has %d", r.Index, now.N)
	}
	hashes, err := tree.ReadHashes([]int64{tlog.StoredHashIndex(0, r.Index)})
	if err != nil {
		return "", err
	}
	if hashes[0] != tlog.RecordHash(leaf) {
		return "", fmt.Errorf("the log has another entry %d", r.Index)
	}
	return fmt.Sprintf("entry %d, in trees of %d and %d", r.Index, then.N, now.N), checkPast(then, now, tree)
}

// checkPast proves that a tree begins with what it was.
func checkPast(then, now tlog.Tree, tree stored) error {
	if then.N > now.N {
		return fmt.Errorf("had %d entries, has %d", then.N, now.N)
	}
	if then.N == 0 {
		return nil // Everything begins with nothing.
	}
	proof, err := tlog.ProveTree(now.N, then.N, tree)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, now.N, now.Hash, then.N, then.Hash)
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: verify <export> <keys> [receipt.json | checkpoint]...")
		os.Exit(2)
	}
	failures := 0
	check := func(what string, err error) bool {
		if err != nil {
			failures++
			fmt.Printf("FAIL %s: %v\n", what, err)
		}
		return err == nil
	}
	must := func(what string, err error) {
		if !check(what, err) {
			os.Exit(1)
		}
	}
	dir := os.Args[1]

	lines, err := os.ReadFile(os.Args[2])
	must(os.Args[2], err)
	var keys []note.Verifier
	for _, line := range strings.Fields(string(lines)) {
		key, err := note.NewVerifier(line)
		must(line, err)
		keys = append(keys, key)
	}
	verifiers := note.VerifierList(keys...)

	octets, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	must("checkpoint", err)
	origin, now, err := open(octets, verifiers)
	must("checkpoint", err)
	fmt.Printf("checkpoint of %s: %d entries, root %v\n", origin, now.N, now.Hash)

	var tree stored
	for _, tile := range tilesOf(0, now.N) {
		must(bundlePath(tile), readBundle(dir, tile, &tree))
	}
	root, err := tlog.TreeHash(now.N, tree)
	if err == nil && root != now.Hash {
		err = fmt.Errorf("the entries give the root %v", root)
	}
	check("checkpoint", err)
	tiles := 0
	for level := 0; now.N>>(height*level) > 0; level++ {
		for _, tile := range tilesOf(level, now.N) {
			check(path(tile), checkTile(dir, tile, tree))
			tiles++
		}
	}
	fmt.Printf("%d entries, %d tiles\n", now.N, tiles)

	for _, name := range os.Args[3:] {
		octets, err := os.ReadFile(name)
		must(name, err)
		if strings.HasSuffix(name, ".json") {
			if said, err := checkReceipt(octets, verifiers, now, tree); check(name, err) {
				fmt.Printf("receipt %s: %s\n", name, said)
			}
			continue
		}
		_, then, err := open(octets, verifiers)
		if err == nil {
			err = checkPast(then, now, tree)
		}
		if check(name, err) {
			fmt.Printf("checkpoint %s: the log began with these %d entries\n", name, then.N)
		}
	}
	if failures > 0 {
		fmt.Printf("%d failures\n", failures)
		os.Exit(1)
	}
	fmt.Println("all verified")
}
